//! A name that a rule has records of, asked for another type that is left to the upstreams.
//!
//! That there is no such name would be wrong, and the end of the records as well: it is said of all types (RFC 2308
//! section 2.1), and who caches it denies them all. Where upstreams have an alias of that name, it is said of its target; but some
//! clients (musl) look at the code alone, and take it for the name that they asked for.

use std::{fmt, sync::Arc};

use super::change::deny;
use crate::message::{Name, Rcode, response::Response};

/// A name that exists, whatever upstreams know.
#[derive(Clone, Debug)]
pub struct Existing {
    pub(super) name: Name<'static>,
    /// The rule that has its records.
    pub(super) rule: Arc<str>,
}

impl fmt::Display for Existing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, rule } = self;
        write!(f, "NXDOMAIN becomes NODATA, as rule {rule} has records of {name}")
    }
}

impl Existing {
    /// Has an answer that denies the name, or where its aliases lead, deny only the type that was asked for.
    pub(super) fn apply(response: &mut Response, rcode: &mut Rcode) {
        if *rcode == Rcode::NXDOMAIN {
            *rcode = Rcode::NOERROR;
            response.header.disown();
            deny(response, *rcode);
        }
    }
}

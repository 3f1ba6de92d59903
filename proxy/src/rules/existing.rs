//! A name that a rule has records of, asked for another type that is left to the upstreams.
//!
//! That there is no such name would be wrong, and the end of the records as well: it is said of all types (RFC 2308
//! section 2.1), and who caches it denies them all.

use std::{fmt, sync::Arc};

use super::{answer, change::deny};
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
    /// Has an answer that denies the name deny only the type that was asked for.
    pub(super) fn apply(&self, response: &mut Response, rcode: &mut Rcode) {
        let is_about_it = |denied: Name<'_>| denied.eq_ignore_case(&self.name);
        if *rcode == Rcode::NXDOMAIN && answer::denied(response).is_some_and(is_about_it) {
            *rcode = Rcode::NOERROR;
            response.header.disown();
            deny(response, *rcode);
        }
    }
}

//! One thing to be done to an answer, as a rule that matched left it for later.

use std::{fmt, sync::Arc};

use super::{
    change::{Changes, NoName},
    existing::Existing,
    restore::Restoring,
};
use crate::message::{Rcode, response::Response};

/// Something to be done to the answer, by one rule that matched.
#[derive(Clone, Debug)]
pub enum Step {
    /// The answer to a rewritten question becomes one to the question before it.
    Restore(Restoring),
    /// The answer is changed.
    Change(Arc<Changes>),
    /// A name with records of our own is not denied as a whole.
    Exists(Existing),
}

impl Step {
    /// Does it.
    pub(super) fn apply(&self, response: &mut Response, rcode: &mut Rcode) -> Result<(), NoName> {
        match self {
            Self::Restore(restoring) => restoring.apply(response),
            Self::Change(changes) => {
                changes.apply(response, rcode);
                Ok(())
            }
            Self::Exists(_) => {
                Existing::apply(response, rcode);
                Ok(())
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restore(restoring) => restoring.fmt(f),
            Self::Change(changes) => changes.fmt(f),
            Self::Exists(existing) => existing.fmt(f),
        }
    }
}

//! What upstreams are asked, and where the answer belongs.

use std::sync::Arc;

use crate::{
    cache::{Key, Scope, Sought},
    message::Request,
};

/// A question for upstreams; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Inquiry {
    pub(super) request: Arc<Request>,
    /// What was decided about it.
    pub(super) scope: Scope,
    /// Its place in the cache; `None` where its answer is neither looked up nor kept.
    pub(super) sought: Option<Sought>,
}

impl Inquiry {
    /// What its answer is found by, and made for.
    pub(super) fn key(&self) -> Key<'_> {
        let Request { question, recursion_desired: _, checking_disabled, dnssec_ok } =
            &*self.request;
        Key::of(question, *dnssec_ok, *checking_disabled, self.scope)
    }

    /// A hash that nobody can foresee, where one was made for the cache.
    pub(super) fn hash(&self) -> Option<u64> {
        self.sought.map(Sought::hash)
    }

    /// Whether no answer could tell the two apart.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.scope == other.scope && self.request.is_same(&other.request)
    }

    /// The same question where nobody else asks it.
    pub(super) fn apart(&self) -> Self {
        let (request, scope) = (Arc::clone(&self.request), Scope(!self.scope.0));
        Self { request, scope, sought: None }
    }
}

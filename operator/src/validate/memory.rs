//! What checking a manifest came to, so that it is checked again only when that could come to something else.
//!
//! An object is reconciled every few seconds, and a check may take seconds: whoever wrote a manifest of that kind would take
//! the operator from everybody else. It is for the same reason that there is one check of an object at a time, also when
//! nobody waits for it any more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use dnsproxy_api::{DnsProxy, validate::Problem};
use kube::ResourceExt as _;
use tokio::sync::{Mutex as Turns, OwnedMutexGuard};

use crate::cluster::Facts;

/// What is told of a check: what is probably not meant in a valid manifest, or what is wrong in another one.
pub type Verdict = Result<Vec<String>, Vec<String>>;

/// What is remembered of all objects, by UID.
#[derive(Debug, Default)]
pub struct Verdicts(Mutex<HashMap<String, Arc<Turns<Option<Known>>>>>);

/// Whose turn it is to check an object, with what is known of it. To be kept until the check is done.
pub type Turn = OwnedMutexGuard<Option<Known>>;

/// A verdict, with all that it depends on.
#[derive(Debug)]
pub struct Known {
    on: Grounds,
    verdict: Verdict,
}

/// All that a verdict depends on.
#[derive(Debug, PartialEq)]
pub struct Grounds {
    /// The object's; what it says does not change without it.
    generation: Option<i64>,
    facts: Arc<Facts>,
    /// What it says of other objects' addresses.
    loops: Vec<Problem>,
}

impl Grounds {
    /// Of an object as it is seen now.
    #[must_use]
    pub fn new(proxy: &DnsProxy, facts: Arc<Facts>, loops: Vec<Problem>) -> Self {
        Self { generation: proxy.metadata.generation, facts, loops }
    }

    /// What the check needs of them.
    #[must_use]
    pub fn parts(&self) -> (&Facts, Vec<Problem>) {
        (&self.facts, self.loops.clone())
    }
}

impl Known {
    /// A verdict and what it depends on.
    #[must_use]
    pub fn new(on: Grounds, verdict: Verdict) -> Self {
        Self { on, verdict }
    }

    /// The verdict, if it still holds.
    #[must_use]
    pub fn verdict(&self, on: &Grounds) -> Option<Verdict> {
        (self.on == *on).then(|| self.verdict.clone())
    }
}

impl Verdicts {
    /// Waits until nobody checks this object.
    pub async fn turn(&self, proxy: &DnsProxy) -> Turn {
        self.turns(proxy.uid().unwrap_or_default()).lock_owned().await
    }

    fn turns(&self, uid: String) -> Arc<Turns<Option<Known>>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // To forget costs one check. One that goes on has its place all the same.
        if all.len() >= MAX_OBJECTS && !all.contains_key(&uid) {
            all.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        all.entry(uid).or_default().clone()
    }
}

/// Each with a few lines of text: the status has room for no more.
const MAX_OBJECTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[tokio::test]
    async fn a_verdict_holds_as_long_as_all_that_it_depends_on() {
        let proxy = fixtures::proxy("minimal");
        let grounds = || Grounds::new(&proxy, fixtures::facts().into(), vec![]);
        let mut edited = proxy.clone();
        edited.metadata.generation = Some(4);
        let mut grown = fixtures::facts();
        grown.node_addresses.push("192.0.2.1".parse().unwrap());
        let known = Known::new(grounds(), Ok(vec![]));

        assert_eq!(known.verdict(&grounds()), Some(Ok(vec![])), "the facts are equal");
        let cases = [
            ("edited", Grounds::new(&edited, fixtures::facts().into(), vec![])),
            ("another cluster", Grounds::new(&proxy, grown.into(), vec![])),
            (
                "another object has the address",
                Grounds::new(&proxy, fixtures::facts().into(), vec![Problem::new("", "loop")]),
            ),
        ];
        for (why, grounds) in cases {
            assert_eq!(known.verdict(&grounds), None, "{why}");
        }
    }

    #[tokio::test]
    async fn objects_that_are_being_checked_keep_their_turn() {
        let verdicts = Verdicts::default();
        let with_uid = |uid: usize| {
            let mut proxy = fixtures::proxy("minimal");
            proxy.metadata.uid = Some(uid.to_string());
            proxy
        };
        let first = with_uid(0);
        let turn = verdicts.turn(&first).await;
        for uid in 1..=MAX_OBJECTS {
            verdicts.turn(&with_uid(uid)).await;
        }

        assert!(verdicts.0.lock().unwrap().len() <= MAX_OBJECTS);
        assert!(futures::poll!(std::pin::pin!(verdicts.turn(&first))).is_pending());
        drop(turn);
        assert!(futures::poll!(std::pin::pin!(verdicts.turn(&first))).is_ready());
    }

    #[test]
    fn an_object_that_has_its_place_makes_nobody_forgotten() {
        let verdicts = Verdicts::default();
        for uid in 0..MAX_OBJECTS {
            verdicts.turns(uid.to_string());
        }
        verdicts.turns("7".to_owned());

        assert_eq!(verdicts.0.lock().unwrap().len(), MAX_OBJECTS);
    }
}

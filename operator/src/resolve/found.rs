//! What was found of references, so that it is looked for again only when it may be gone.
//!
//! An object is reconciled every few seconds, and may refer to hundreds of others. What is missing is looked for each time:
//! somebody may be waiting for it, and a watch may be broken.
//!
//! Since when each object is what it is now is known by its version, which tells a change from a watch that begins anew.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::api::ObjectMeta;
use tokio::time::Instant;

use super::{Kind, Reference};

/// Keys that were there when they were looked for, and of which nothing was heard since.
#[derive(Debug, Default)]
pub struct Found(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By object and key, when it was looked for.
    keys: HashMap<Object, HashMap<String, Instant>>,
    /// How many changes of objects were heard of.
    changes: u64,
    /// Of the objects that were found once.
    versions: HashMap<Object, Version>,
}

/// What an object was when it was heard of last.
#[derive(Debug)]
struct Version {
    version: Option<String>,
    /// When it became that; none: it was so when it was found.
    since: Option<Instant>,
}

#[derive(Debug, Eq, Hash, PartialEq)]
struct Object {
    kind: Kind,
    namespace: String,
    name: String,
}

/// When something was looked for.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    at: Instant,
    changes: u64,
}

impl Found {
    /// Begins to look for something.
    pub fn look(&self, at: Instant) -> Look {
        Look { at, changes: self.state(|state| state.changes) }
    }

    /// Whether this was found before, and is still there as far as is known.
    pub fn has(&self, namespace: &str, reference: &Reference, look: Look) -> bool {
        let Reference { kind, name, key } = reference;
        let object = Object::new(*kind, namespace, name);
        let since = self.state(|state| state.keys.get(&object)?.get(key).copied());
        since.is_some_and(|since| look.at.saturating_duration_since(since) < FRESH)
    }

    /// Remembers what was found by this look, unless there was a change since: it may have been of that.
    pub fn remember(&self, namespace: &str, found: Vec<Reference>, look: Look) {
        self.state(|state| {
            if state.changes != look.changes {
                return;
            }
            for Reference { kind, name, key } in found {
                let object = Object::new(kind, namespace, &name);
                // To forget costs one look.
                if state.keys.len() >= MAX_OBJECTS && !state.keys.contains_key(&object) {
                    state.keys.clear();
                }
                state.keys.entry(object).or_default().insert(key, look.at);
            }
        });
    }

    /// Begins to tell an object's changes, if that was not begun before.
    pub fn follow(&self, kind: Kind, object: &ObjectMeta) {
        let version = || Version { version: object.resource_version.clone(), since: None };
        let object = Object::of(kind, object);
        self.state(|state| {
            // What changed before then is delivered a little later.
            if state.versions.len() >= MAX_OBJECTS && !state.versions.contains_key(&object) {
                state.versions.clear();
            }
            state.versions.entry(object).or_insert_with(version);
        });
    }

    /// Forgets an object that was heard of now: it may have changed.
    pub fn forget(&self, kind: Kind, metadata: &ObjectMeta, now: Instant) {
        let object = Object::of(kind, metadata);
        self.state(|state| {
            state.changes = state.changes.wrapping_add(1);
            state.keys.remove(&object);
            let known = state.versions.get_mut(&object);
            if let Some(known) = known.filter(|it| it.version != metadata.resource_version) {
                let version = metadata.resource_version.clone();
                *known = Version { version, since: Some(now) };
            }
        });
    }

    /// For how long these have been what they are; none: nobody saw the last one of them change.
    pub fn unchanged_for<'r>(
        &self,
        namespace: &str,
        references: impl Iterator<Item = &'r Reference>,
        now: Instant,
    ) -> Option<Duration> {
        let objects: Vec<_> = references
            .map(|reference| Object::new(reference.kind, namespace, &reference.name))
            .collect();
        let since = |state: &mut State| {
            objects.iter().filter_map(|object| state.versions.get(object)?.since).max()
        };
        self.state(since).map(|since| now.saturating_duration_since(since))
    }

    fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Object {
    fn of(kind: Kind, object: &ObjectMeta) -> Self {
        let [namespace, name] = [&object.namespace, &object.name].map(|it| it.as_deref());
        Self::new(kind, namespace.unwrap_or_default(), name.unwrap_or_default())
    }

    fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// How long a removal may stay unknown that no watch told of: one that begins anew says what is there, not what went. Our guess.
const FRESH: Duration = Duration::from_secs(300);
/// Those that some thousand manifests refer to.
const MAX_OBJECTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, key: &str) -> Reference {
        Reference { kind: Kind::ConfigMap, name: name.into(), key: key.into() }
    }

    fn changed(name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.into()),
            namespace: Some("dns".into()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn is_known_until_it_changes_or_has_not_been_looked_for_in_a_while() {
        let found = Found::default();
        let now = Instant::now();
        let has = |namespace: &str, reference: &Reference, now: Instant| {
            found.has(namespace, reference, found.look(now))
        };
        let [a, b] = [key("a", "x"), key("b", "x")];
        found.remember("dns", vec![a.clone(), b.clone()], found.look(now));

        assert!(has("dns", &a, now + FRESH / 2));
        assert!(!has("dns", &a, now + FRESH), "long ago");
        assert!(!has("dns", &key("a", "y"), now), "another key");
        assert!(!has("web", &a, now), "another namespace");

        found.forget(Kind::Secret, &changed("a"), now);
        assert!(has("dns", &a, now), "a Secret of that name changed");
        found.forget(Kind::ConfigMap, &changed("a"), now);
        assert!(!has("dns", &a, now), "it changed");
        assert!(has("dns", &b, now), "the other one did not");
    }

    #[test]
    fn what_changed_while_it_was_looked_for_is_not_known() {
        let found = Found::default();
        let look = found.look(Instant::now());
        found.forget(Kind::ConfigMap, &changed("a"), Instant::now());
        found.remember("dns", vec![key("a", "x")], look);

        assert!(!found.has("dns", &key("a", "x"), look));
    }

    #[test]
    fn what_has_its_place_makes_nothing_forgotten_and_what_is_new_keeps_to_the_bound() {
        let found = Found::default();
        let look = found.look(Instant::now());
        let all = (0..MAX_OBJECTS).map(|number| key(&number.to_string(), "x"));
        found.remember("dns", all.collect(), look);

        found.remember("dns", vec![key("7", "x")], look);
        assert!(found.has("dns", &key("8", "x"), look));

        found.remember("dns", vec![key("new", "x"), key("newer", "x")], look);
        assert!(found.has("dns", &key("new", "x"), look));
        assert!(!found.has("dns", &key("8", "x"), look));
    }
    #[test]
    fn a_change_is_another_version_of_what_was_found() {
        let found = Found::default();
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let heard = |version: &str, second: u64| {
            let version = Some(version.to_owned());
            let metadata = ObjectMeta { resource_version: version, ..changed("a") };
            found.forget(Kind::ConfigMap, &metadata, at(second));
            found.follow(Kind::ConfigMap, &metadata);
        };
        let unchanged_for = |second: u64| {
            let age = found.unchanged_for("dns", [key("a", "x"), key("b", "x")].iter(), at(second));
            age.map(|age| age.as_secs())
        };

        heard("1", 0);
        assert_eq!(unchanged_for(1), None, "it was so when it was found");
        heard("1", 2);
        assert_eq!(unchanged_for(3), None, "a watch began anew");
        heard("2", 4);
        heard("2", 5);
        assert_eq!(unchanged_for(7), Some(3));
        assert_eq!(found.unchanged_for("dns", [key("b", "x")].iter(), at(7)), None, "another one");
    }
}

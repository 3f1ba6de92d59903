//! Events: a line in `kubectl describe` for each condition that changed.
//!
//! Only changes are told, and the recorder counts the same one within six minutes instead of telling
//! it again, so that something that flaps does not flood.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use dnsproxy_api::{DnsProxy, DnsProxyStatus, v1alpha1::Condition};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    core::error_boundary::InvalidObject,
    runtime::events::{Event, EventType, Recorder},
};

use crate::{
    context::Context,
    status::conditions::{self, ACCEPTED, PROGRAMMED, READY, SCALED_TO_ZERO, is_progress},
};

/// A recorder for each text. One alone would count an Event with another text as the same one, and leave it the first
/// text, which nobody may change: a problem that was mended would seem to be the one of now.
pub struct Recorders {
    client: Client,
    by_note: Mutex<HashMap<Option<String>, Recorder>>,
}

impl Recorders {
    /// Publishes to this API server.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, by_note: Mutex::default() }
    }

    fn of(&self, event: &Event) -> Recorder {
        let mut by_note = self.by_note.lock().unwrap_or_else(PoisonError::into_inner);
        // To forget makes Events that are told again where they might be counted.
        if by_note.len() >= MAX_NOTES && !by_note.contains_key(&event.note) {
            by_note.clear();
        }
        let new = || Recorder::new(self.client.clone(), crate::NAME.into());
        by_note.entry(event.note.clone()).or_insert_with(new).clone()
    }
}

/// Tells what changed between the object's status and the new one. An Event that cannot be told is lost.
pub async fn publish(proxy: &DnsProxy, new: &DnsProxyStatus, context: &Context) {
    let object = proxy.object_ref(&());
    for event in changes(proxy.status.as_ref(), new) {
        tell(&event, &object, context).await;
    }
}

/// Tells that an object cannot be read.
pub async fn publish_unreadable(
    object: &impl Resource<DynamicType = ()>,
    unreadable: &InvalidObject,
    context: &Context,
) {
    let event = Event {
        type_: EventType::Warning,
        reason: "Unreadable".to_owned(),
        note: Some(unreadable.error.chars().take(MAX_NOTE).collect()),
        action: ACCEPTED.to_owned(),
        secondary: None,
    };
    tell(&event, &object.object_ref(&()), context).await;
}

async fn tell(event: &Event, object: &ObjectReference, context: &Context) {
    if let Err(error) = context.recorders.of(event).publish(event, object).await {
        tracing::debug!(reason = %event.reason, %error, "event lost");
    }
}

fn changes(previous: Option<&DnsProxyStatus>, new: &DnsProxyStatus) -> Vec<Event> {
    // Ready says nothing that the others do not say.
    let conditions = new.conditions.iter().flatten().filter(|condition| condition.type_ != READY);
    let changed = conditions.filter(|condition| {
        match previous.and_then(|status| conditions::find(status, &condition.type_)) {
            Some(before) => {
                before.status != condition.status || is_another_failure(before, condition)
            }
            // A new object begins with nothing there: that is told when it is there, or cannot be.
            None => condition.type_ == ACCEPTED || is_obstacle(condition),
        }
    });
    changed.filter(|condition| !is_said_elsewhere(condition)).map(event).collect()
}

fn is_another_failure(before: &Condition, now: &Condition) -> bool {
    now.status == "False" && before.reason != now.reason && !is_progress(now)
}

/// What keeps pods from running at all.
fn is_obstacle(condition: &Condition) -> bool {
    condition.type_ == PROGRAMMED && condition.status == "False" && !is_progress(condition)
}

/// That nobody knows is no news, that pods go on as before follows from what is told of `Accepted`, and that none run
/// where none are wanted from what is told of `Available`.
fn is_said_elsewhere(condition: &Condition) -> bool {
    let is_of_available = condition.type_ == PROGRAMMED && condition.reason == SCALED_TO_ZERO;
    condition.status == "Unknown" || condition.reason == "NotAccepted" || is_of_available
}

fn event(condition: &Condition) -> Event {
    let is_wanted = condition.status == "True" || condition.reason == SCALED_TO_ZERO;
    let is_normal = is_wanted || is_progress(condition);
    Event {
        type_: if is_normal { EventType::Normal } else { EventType::Warning },
        reason: condition.reason.clone(),
        note: Some(condition.message.chars().take(MAX_NOTE).collect()),
        action: condition.type_.clone(),
        secondary: None,
    }
}

/// The API server takes 1 kB.
const MAX_NOTE: usize = 250;
/// More than a few hundred objects say within six minutes. Our guess.
const MAX_NOTES: usize = 1000;

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    use super::*;
    use crate::fixtures::{self, api_server::ApiServer};

    fn status(type_: &str, status: &str, reason: &str) -> DnsProxyStatus {
        let condition = Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message: "why".into(),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: Some(1),
        };
        DnsProxyStatus { conditions: Some(vec![condition]), ..DnsProxyStatus::default() }
    }

    fn told(before: Option<&DnsProxyStatus>, now: &DnsProxyStatus) -> Vec<(EventType, String)> {
        changes(before, now).into_iter().map(|event| (event.type_, event.reason)).collect()
    }

    #[test]
    fn only_changes_are_told() {
        let healthy = status("UpstreamsHealthy", "True", "Healthy");
        let pin = status("UpstreamsHealthy", "False", "PinMismatch");
        let network = status("UpstreamsHealthy", "False", "Unreachable");

        assert_eq!(told(Some(&healthy), &healthy), []);
        assert_eq!(told(Some(&healthy), &pin), [(EventType::Warning, "PinMismatch".into())]);
        assert_eq!(told(Some(&pin), &network), [(EventType::Warning, "Unreachable".into())]);
        assert_eq!(told(Some(&pin), &healthy), [(EventType::Normal, "Healthy".into())]);
    }

    #[test]
    fn what_passes_by_itself_is_no_warning() {
        let programmed = status("Programmed", "True", "Programmed");
        let pending = status("Programmed", "False", "Pending");

        assert_eq!(told(Some(&programmed), &pending), [(EventType::Normal, "Pending".into())]);
    }

    #[test]
    fn that_no_pods_are_wanted_is_told_once_and_no_warning() {
        let zero = |type_| status(type_, "False", "ScaledToZero");
        let [programmed, available] =
            ["Programmed", "Available"].map(|type_| status(type_, "True", "Yes"));

        assert_eq!(told(Some(&programmed), &zero("Programmed")), []);
        assert_eq!(
            told(Some(&available), &zero("Available")),
            [(EventType::Normal, "ScaledToZero".into())]
        );
    }

    #[test]
    fn a_new_object_is_told_whether_it_was_accepted() {
        assert_eq!(told(None, &status("Available", "False", "MinimumReplicasUnavailable")), []);
        assert_eq!(told(None, &status("Programmed", "False", "NoReadyPods")), [], "it begins so");
        assert_eq!(
            told(None, &status("Programmed", "False", "Unreachable")),
            [(EventType::Warning, "Unreachable".into())]
        );
        assert_eq!(
            told(None, &status("Accepted", "False", "Invalid")),
            [(EventType::Warning, "Invalid".into())]
        );
    }

    #[tokio::test]
    async fn what_says_something_else_is_another_event_and_the_same_is_counted() {
        let proxy = fixtures::proxy("minimal");
        let (_, asked) = ApiServer::default()
            .during(async |client| {
                let context = fixtures::context(client);
                for message in
                    ["no upstream is called a", "no group is called b", "no upstream is called a"]
                {
                    let mut invalid = status("Accepted", "False", "Invalid");
                    invalid
                        .conditions
                        .iter_mut()
                        .flatten()
                        .for_each(|it| it.message = message.into());
                    publish(&proxy, &invalid, &context).await;
                }
            })
            .await;

        let methods: Vec<_> = asked.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(methods, ["POST", "POST", "PATCH"], "{asked:#?}");
    }
}

//! How far a Deployment's rollout is, as its controller says.
//!
//! Not how many pods are ready: old pods that go on serving are ready, too, and a pod of the newest
//! template that is replaced after a node's failure is no rollout.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};

/// How far it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rollout {
    /// The controller has not looked at the newest template yet.
    Unseen,
    /// Pods of an older template are left.
    Underway {
        /// How many pods are of the newest one.
        updated: i32,
        /// How many there are.
        replicas: i32,
    },
    /// The controller does not expect that it goes on.
    Stalled {
        /// What it says about that.
        message: String,
    },
    /// Only pods of the newest template are left.
    Done,
}

impl Rollout {
    /// Of a Deployment whose template came with the generation `since`: what its controller says of a later one
    /// holds for the template, too.
    #[must_use]
    pub fn of(deployment: &Deployment, since: i64) -> Self {
        let Some(status) = &deployment.status else { return Self::Unseen };
        if status.observed_generation < Some(since) {
            return Self::Unseen;
        }
        if let Some(message) = stall(status) {
            return Self::Stalled { message };
        }
        let replicas = status.replicas.unwrap_or_default();
        let updated = status.updated_replicas.unwrap_or_default();
        if updated < replicas { Self::Underway { updated, replicas } } else { Self::Done }
    }
}

/// A quota or an admission policy that refuses pods is told apart, and says more than that it took too long.
fn stall(status: &DeploymentStatus) -> Option<String> {
    let late = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "Progressing"
            && condition.status == "False"
            && condition.reason.as_deref() == Some(DEADLINE_EXCEEDED)
    })?;
    let messages = [late.message.as_deref(), refusal(status)].into_iter().flatten();
    let sentences: Vec<_> = messages.map(|message| message.trim_end_matches('.')).collect();
    Some(sentences.join("; "))
}

/// Why the API server takes no more pods, in its own words.
#[must_use]
pub fn refusal(status: &DeploymentStatus) -> Option<&str> {
    let mut conditions = status.conditions.iter().flatten();
    let refused = conditions
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    refused.message.as_deref()
}

/// The controller's word for it. Once a rollout was complete it is not said again before the next one.
pub const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rollout(status: &Value) -> Rollout {
        let deployment = json!({
            "metadata": {"generation": 3}, "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": status,
        });
        Rollout::of(&serde_json::from_value(deployment).unwrap(), 2)
    }

    fn late(observed: i64) -> Value {
        json!({
            "observedGeneration": observed, "replicas": 2,
            "conditions": [
                {"type": "Available", "status": "True"},
                {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"},
                {
                    "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                    "message": "ReplicaSet \"edge-1\" has timed out progressing.",
                },
            ],
        })
    }

    #[test]
    fn is_done_when_no_old_pod_is_left() {
        let underway = |updated, replicas| Rollout::Underway { updated, replicas };
        let cases = [
            ("the controller was not there yet", json!({}), Rollout::Unseen),
            (
                "the newest template was not seen yet",
                json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2}),
                Rollout::Unseen,
            ),
            (
                "an old pod is left",
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2}),
                underway(2, 3),
            ),
            (
                "no new pod could be made",
                json!({"observedGeneration": 2, "replicas": 2}),
                underway(0, 2),
            ),
            (
                "all pods are new, and only their number was changed since",
                json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2}),
                Rollout::Done,
            ),
            (
                "a pod is being replaced by one of the same template",
                json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1}),
                Rollout::Done,
            ),
        ];

        for (why, status, expected) in cases {
            assert_eq!(rollout(&status), expected, "{why}");
        }
    }

    #[test]
    fn is_stalled_when_the_controller_says_so_of_the_newest_template() {
        let message = "ReplicaSet \"edge-1\" has timed out progressing; exceeded quota".to_owned();

        assert_eq!(rollout(&late(2)), Rollout::Stalled { message });
        assert_eq!(rollout(&late(1)), Rollout::Unseen, "that was the one before");
    }
}

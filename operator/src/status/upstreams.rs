//! The upstreams as all pods together see them.

use dnsproxy_api::v1alpha1::{UpstreamState, UpstreamStatus};

use super::Observed;
use crate::reports::{ServerReport, UpstreamReport};

/// Why an upstream is unhealthy, the one that is worth a look first coming first: a wrong pin may be
/// an attack, and whatever is not the upstream's proof of who it is looks like a failing network.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Reason {
    PinMismatch,
    NameMismatch,
    CertificateExpired,
    Unreachable,
}

impl Reason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::PinMismatch => "PinMismatch",
            Self::NameMismatch => "NameMismatch",
            Self::CertificateExpired => "CertificateExpired",
            Self::Unreachable => "Unreachable",
        }
    }

    /// From the proxy's word for it.
    fn of_report(label: Option<&str>) -> Self {
        match label {
            Some("pin_mismatch") => Self::PinMismatch,
            Some("name_mismatch") => Self::NameMismatch,
            Some("expired") => Self::CertificateExpired,
            _ => Self::Unreachable,
        }
    }
}

/// The reason in an upstream's status.
pub(super) fn reason_of(upstream: &UpstreamStatus) -> Reason {
    let all = [Reason::PinMismatch, Reason::NameMismatch, Reason::CertificateExpired];
    let written = upstream.reason.as_deref();
    all.into_iter().find(|reason| written == Some(reason.as_str())).unwrap_or(Reason::Unreachable)
}

/// The manifest's upstreams, in its order.
pub(super) fn of(observed: &Observed<'_>) -> Vec<UpstreamStatus> {
    let names = observed.proxy.spec.upstreams.iter().map(|upstream| &upstream.name);
    names
        .map(|name| {
            let reports =
                observed.ready().filter_map(|pod| pod.report.as_ref()?.upstreams.as_ref());
            let reports = reports.flat_map(|report| &report.upstreams);
            joined(name, reports.filter(|report| report.name == *name).map(seen_by_one_pod))
        })
        .collect()
}

/// How many answer, of how many: of one that was not asked nobody knows.
pub(super) fn ready(upstreams: &[UpstreamStatus]) -> String {
    let ready =
        upstreams.iter().filter(|upstream| upstream.state == UpstreamState::Healthy).count();
    format!("{ready}/{}", upstreams.len())
}

/// What one pod makes of an upstream: its state, and the worst of its servers' reasons.
type Seen<'a> = (UpstreamState, Option<(Reason, &'a ServerReport)>);

/// One server that answers is enough; the others are not asked then. One that is suspect has answered and was silent
/// for a moment: whether it fails is being found out, and a status that says so each time would never rest.
fn seen_by_one_pod(report: &UpstreamReport) -> Seen<'_> {
    let answers = |server: &ServerReport| matches!(&*server.state, "Healthy" | "Suspect");
    let is_healthy = report.servers.iter().any(answers);
    let failing = report.servers.iter().filter(|server| server.state == "Unhealthy");
    let worst = failing
        .map(|server| (Reason::of_report(server.reason.as_deref()), server))
        .min_by_key(|(reason, _)| *reason);
    let state = match (is_healthy, worst) {
        (true, _) => UpstreamState::Healthy,
        (false, Some(_)) => UpstreamState::Unhealthy,
        (false, None) => UpstreamState::Unknown,
    };
    (state, worst)
}

/// Unhealthy for one pod is unhealthy: its clients are without it.
fn joined<'a>(name: &str, pods: impl Iterator<Item = Seen<'a>>) -> UpstreamStatus {
    let pods: Vec<_> = pods.collect();
    let has = |state| pods.iter().any(|(seen, _)| *seen == state);
    let state =
        [UpstreamState::Unhealthy, UpstreamState::Healthy].into_iter().find(|state| has(*state));
    let state = state.unwrap_or_default();
    let worst = pods.iter().filter(|(seen, _)| *seen == state).filter_map(|(_, worst)| *worst);
    let worst = worst.min_by_key(|(reason, _)| *reason);
    let is_unhealthy = state == UpstreamState::Unhealthy;
    UpstreamStatus {
        name: name.to_owned(),
        state,
        reason: worst.filter(|_| is_unhealthy).map(|(reason, _)| reason.as_str().to_owned()),
        message: worst.map(|(_, server)| message(server)),
    }
}

fn message(server: &ServerReport) -> String {
    let why = server.message.as_deref().or(server.reason.as_deref()).unwrap_or("does not answer");
    let text = if why.contains(&server.address) {
        why.to_owned()
    } else {
        format!("{}: {why}", server.address)
    };
    text.chars().take(MAX_MESSAGE).collect()
}

/// A status is read by people, and what pods say comes from elsewhere. Our guess.
const MAX_MESSAGE: usize = 512;

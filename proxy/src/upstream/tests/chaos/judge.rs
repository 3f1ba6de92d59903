//! What has to hold in each run, whatever happened.

use std::{collections::HashMap, time::Duration};

use super::{
    Answer, LabServer, Question as DnsQuestion, Rcode, metrics_text,
    plan::{Condition, Kind, Phase, Plan},
    play::{Played, Question},
    promise::DEADLINE,
};

/// What did not hold, in words.
pub(super) fn judge(plan: &Plan, played: &Played) -> Vec<String> {
    let mut faults = Vec::new();
    for question in &played.questions {
        faults.extend(judge_end(question));
        faults.extend(judge_quick(plan, question));
    }
    faults.extend(judge_return(plan, played));
    faults.extend(judge_servers_asked(plan, played));
    faults.extend(judge_hedges(played));
    faults.extend(judge_connections(plan, played));
    let own = played.network.servers.iter().zip(&plan.servers);
    for (server, phases) in own.chain(played.network.spares.iter().zip(&plan.spares)) {
        faults.extend(judge_handshakes(plan, played, server, phases));
    }
    faults
}

/// A question ends in time, with an answer of its own or with reasons.
fn judge_end(Question { name, asked, .. }: &Question) -> Option<String> {
    if asked.took > DEADLINE + Duration::from_millis(2) {
        return Some(format!("{name} took {:?}", asked.took));
    }
    match &asked.result {
        Ok(answer) if !is_about(answer, name) => Some(format!("{name} was answered {answer:?}")),
        Err(failure) if failure.attempts.is_empty() => Some(format!("{name} failed of nothing")),
        Ok(_) | Err(_) => None,
    }
}

fn is_about(answer: &Answer, name: &str) -> bool {
    DnsQuestion::read(&answer.message).is_ok_and(|(question, _)| question.name.to_string() == name)
}

/// A name that servers know is answered as long as one of them is well.
fn judge_quick(plan: &Plan, question: &Question) -> Option<String> {
    let Question { name, kind, at, asked } = question;
    let is_lost = *kind == Kind::Quick && !is_answered(question) && plan.has_one_that_is_well(*at);
    is_lost.then(|| {
        let (took, result) = (asked.took, in_words(question));
        format!("{name} at {at:?} after {took:?}: {result}; {}", plan.around(*at))
    })
}

fn in_words(question: &Question) -> String {
    match &question.asked.result {
        Ok(answer) => format!("{:?} of {}", rcode(answer), answer.server),
        Err(failure) => {
            let attempts = failure.attempts.iter();
            let attempts = attempts.map(|it| format!("{} {}", it.server.ip(), it.error.reason()));
            attempts.collect::<Vec<_>>().join(", ")
        }
    }
}

fn rcode(answer: &Answer) -> Rcode {
    answer.layout.rcode(&answer.message)
}

fn is_answered(question: &Question) -> bool {
    question.asked.result.as_ref().is_ok_and(|answer| rcode(answer) == Rcode::NOERROR)
}

/// Nothing latches: soon after the last fault somebody has an answer, and all who ask later have.
fn judge_return(plan: &Plan, played: &Played) -> Vec<String> {
    let calm = || played.questions.iter().filter(|it| it.at >= plan.calm);
    let first = calm().filter(|it| is_answered(it)).map(|it| it.at + it.asked.took).min();
    // Where many names are slow, a dead connection is noticed later.
    let back = plan.calm + if plan.load.has(&[Kind::Slow]) { RETURN * 3 / 2 } else { RETURN };
    let late = first.is_none_or(|first| first > back);
    let late = late.then(|| format!("calm at {:?}, first answer at {first:?}", plan.calm));
    let lost = calm().filter(|it| it.at >= back && !is_answered(it));
    let lost = lost.map(|it| format!("{} at {:?} in calm: {}", it.name, it.at, in_words(it)));
    late.into_iter().chain(lost).collect()
}

/// After the network.
const RETURN: Duration = Duration::from_secs(2);

/// No question goes to more than three servers and one of the fallback; but to one after the other where none can be connected to.
fn judge_servers_asked(plan: &Plan, played: &Played) -> Vec<String> {
    let mut faults = Vec::new();
    let most = if plan.has_refusals() { plan.servers.len() } else { 3 };
    for (servers, most) in [(&played.network.servers, most), (&played.network.spares, 1)] {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for server in servers {
            let mut names: Vec<_> = server.asked().into_iter().map(|query| query.name).collect();
            names.sort_unstable();
            names.dedup();
            names.into_iter().for_each(|name| *counts.entry(name).or_default() += 1);
        }
        let too_many = counts.into_iter().filter(|(_, count)| *count > most);
        faults.extend(too_many.map(|(name, count)| format!("{name}: {count} servers were asked")));
    }
    faults
}

/// No more than five of a hundred are asked a second time because they are late.
fn judge_hedges(played: &Played) -> Option<String> {
    let text = metrics_text(played.network.metrics.clone());
    let lines = text.lines().filter(|line| line.starts_with("dnsproxy_upstream_hedges_total{"));
    let hedges: usize =
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum();
    (hedges > played.count / 20).then(|| format!("{hedges} hedges of {}", played.count))
}

fn judge_connections(plan: &Plan, played: &Played) -> Vec<String> {
    let max = i64::try_from(plan.max).unwrap();
    let too_many = played.most_open.iter().zip(&plan.servers).filter(|((open, _), _)| *open > max);
    too_many
        .map(|((open, at), phases)| format!("{open} of {max} connections at {at:?}: {phases:?}"))
        .collect()
}

/// No server that is out of reach or of no use is flooded with connections, once that is known.
fn judge_handshakes(
    plan: &Plan,
    played: &Played,
    server: &LabServer,
    phases: &[Phase],
) -> Vec<String> {
    let mut faults = Vec::new();
    let dials: Vec<_> = server.dials().iter().map(|at| *at - played.start).collect();
    for (phase, next) in phases.iter().zip(phases.iter().skip(1)) {
        let Some(bound) = most_dials(plan, phase.condition) else { continue };
        let during = phase.from + SECOND..next.from;
        let known: Vec<_> = dials.iter().copied().filter(|at| during.contains(at)).collect();
        let within = |first: Duration| {
            known.iter().filter(|at| (first..first + SECOND).contains(*at)).count()
        };
        let most = known.iter().map(|first| within(*first)).max().unwrap_or_default();
        if most > bound {
            faults.push(format!("{}: {most} dials in a second of {phase:?}", server.address));
        }
    }
    faults
}

/// How many times in a second a server in this condition is connected to: five times; each connection is replaced twice where
/// nothing comes, and ten questions have each connection closed, twice, where that is what they do.
fn most_dials(plan: &Plan, condition: Condition) -> Option<usize> {
    match condition {
        Condition::Refuses | Condition::Hangs => Some(6),
        Condition::Mute | Condition::Deaf => Some(6 + 2 * plan.max),
        Condition::Closes => Some(20 + 10 * plan.max.max(2)),
        Condition::Well(_)
        | Condition::InOrder(_)
        | Condition::ClosesAfter(_)
        | Condition::Grants(_)
        | Condition::ClosesIdle(_)
        | Condition::Fails(_)
        | Condition::Garbles => None,
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Some time after the last question nothing is left of any.
pub(super) fn judge_rest(played: &Played) -> Vec<String> {
    let reports = played.network.upstreams.report().into_iter();
    let servers = reports.flat_map(|upstream| upstream.servers);
    let left = servers.filter(|server| (server.in_flight, server.connections) != (0, 0));
    left.map(|server| format!("left at the end: {server:?}")).collect()
}

//! `spec.tests`: whether what a manifest is to do is what it does. Nothing is sent.

use std::net::{IpAddr, Ipv4Addr};

use dnsproxy_api::{
    DnsProxy, defaults,
    units::{Network, QueryType},
    v1alpha1::{Access, Expectation, Test},
    validate::Problem,
};

use crate::{
    config::{self, Names},
    explain::{self, Outcome, RuleStep},
    judge::{Fate, Judge},
    message::{Name, Qclass, Qtype, Question},
};

/// The same for those who have no files: what depends on a list of which a source is out of reach is left to them who
/// have it.
pub fn problems_without_files(proxy: &DnsProxy) -> Vec<Problem> {
    if proxy.spec.tests.is_none() {
        return Vec::new();
    }
    problems(proxy, &Names::read(&proxy.spec, None, &Names::default()))
}

/// What of the tests of a valid manifest does not come out as it is to.
pub fn problems(proxy: &DnsProxy, names: &Names) -> Vec<Problem> {
    let Some(tests) = proxy.spec.tests.as_deref() else { return Vec::new() };
    let judge = match config::judge_of(&proxy.spec, names) {
        Ok(judge) => judge,
        Err(error) => return vec![Problem::new("spec.tests", error.to_string())],
    };
    let failures = tests.iter().enumerate().filter_map(|(index, test)| {
        let what = failure(&judge, test, proxy.spec.access.as_ref())?;
        let qtype = test.qtype.as_deref().unwrap_or("A");
        let (name, path) = (&test.name, format!("spec.tests[{index}]"));
        Some(Problem::new(path, format!("{name} {qtype}: {what}")))
    });
    failures.collect()
}

/// What a query comes to.
struct Actual {
    /// Whether a list that is out of reach might have made it another one.
    is_uncertain: bool,
    rules: Vec<RuleStep>,
    outcome: Outcome,
    values: Vec<String>,
}

impl Actual {
    /// Whether an upstream decides about all records.
    fn is_open(&self) -> bool {
        self.outcome.route.is_some() && self.values.is_empty()
    }
}

fn failure(judge: &Judge, test: &Test, access: Option<&Access>) -> Option<String> {
    let actual = match actual(judge, test, access) {
        Ok(actual) => actual,
        Err(text) => return Some(format!("`{text}` cannot be read")),
    };
    if actual.is_uncertain {
        return None;
    }
    let Expectation { rcode, answers, rule, route } = &test.expect;
    let mut wrong = Vec::new();
    if let Some(rule) = rule
        && !actual.rules.iter().any(|step| step.rule == *rule)
    {
        wrong.push(format!("rule {rule} does not match, {}", matched(&actual.rules)));
    }
    if let Some(route) = route
        && actual.outcome.route.as_ref() != Some(route)
    {
        wrong.push(format!("route {route} is not taken: {}", what(&actual.outcome)));
    }
    if let Some(rcode) = rcode
        && actual.outcome.rcode != Some(format!("{rcode:?}"))
    {
        wrong.push(format!("{rcode:?} is expected: {}", what(&actual.outcome)));
    }
    if let Some(expected) = answers
        && (!is_same(expected, &actual.values) || actual.is_open())
    {
        let got =
            if actual.values.is_empty() { what(&actual.outcome) } else { actual.values.join(", ") };
        let expected = if expected.is_empty() { "no record".into() } else { expected.join(", ") };
        wrong.push(format!("{expected} is expected: {got}"));
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

fn actual(judge: &Judge, test: &Test, access: Option<&Access>) -> Result<Actual, String> {
    let Test { name, qtype, client, expect: _ } = test;
    let unreadable = |text: &str| text.to_owned();
    let qtype =
        qtype.as_deref().map(|text| text.parse::<QueryType>().map_err(|_| unreadable(text)));
    let question = Question {
        name: name.parse().map_err(|_| unreadable(name))?,
        qtype: qtype.transpose()?.map_or(Qtype::A, |qtype| Qtype(qtype.number())),
        qclass: Qclass::IN,
    };
    let given = client.as_deref().map(|text| text.parse::<IpAddr>().map_err(|_| unreadable(text)));
    let given = given.transpose()?;
    if given.is_some_and(|client| !may_ask(access, client)) {
        let outcome = Outcome {
            source: "refused".into(),
            reason: Some("this client may not ask".into()),
            rcode: Some("REFUSED".into()),
            ..Outcome::default()
        };
        return Ok(Actual { is_uncertain: false, rules: Vec::new(), outcome, values: Vec::new() });
    }
    let client = given.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let (rules, judgement) = explain::judge(judge, &question, client);
    let outcome = explain::outcome(judge, &question, &judgement);
    let values = match &judgement.fate {
        Fate::Made { response, .. } => explain::values(response, &judgement.decision),
        Fate::Asked(_) => explain::given_values(&question, &judgement.decision),
        Fate::Failed(_) | Fate::Dropped | Fate::Any | Fate::NoRoute => Vec::new(),
    };
    let is_uncertain = judgement.decision.is_uncertain;
    Ok(Actual { is_uncertain, rules, outcome, values })
}

fn may_ask(access: Option<&Access>, client: IpAddr) -> bool {
    let is_in = |text: &str| text.parse::<Network>().is_ok_and(|network| network.contains(client));
    let denied = access.and_then(|access| access.deny.as_deref()).unwrap_or_default();
    let is_allowed = match access.and_then(|access| access.allow.as_deref()) {
        Some(allowed) => allowed.iter().any(|text| is_in(text)),
        None => defaults::ACCESS_ALLOW.iter().any(|text| is_in(text)),
    };
    is_allowed && !denied.iter().any(|text| is_in(text))
}

/// The same records in any order; addresses however they are written, a single text with or without its quotes, names with
/// or without the dot at their end, and whichever octets of them are escaped.
fn is_same(expected: &[String], actual: &[String]) -> bool {
    let canonical = |text: &String| {
        let inside = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let text = inside.filter(|inside| !inside.contains('"')).unwrap_or(text);
        let address = text.parse::<IpAddr>().map(|address| address.to_string());
        let name = || text.parse::<Name<'_>>().map(|name| name.to_string());
        let text = address.or_else(|_| name()).unwrap_or_else(|_| text.to_owned());
        text.trim_end_matches('.').to_ascii_lowercase()
    };
    let sorted = |texts: &[String]| {
        let mut texts: Vec<_> = texts.iter().map(canonical).collect();
        texts.sort();
        texts
    };
    sorted(expected) == sorted(actual)
}

fn matched(rules: &[RuleStep]) -> String {
    if rules.is_empty() {
        return "nor does any other".into();
    }
    let names: Vec<_> = rules.iter().map(|step| &*step.rule).collect();
    format!("but {}", names.join(", "))
}

/// What comes of the query, in a few words.
fn what(outcome: &Outcome) -> String {
    let Outcome { source, reason, rcode, route, .. } = outcome;
    let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    match (rcode, route) {
        (Some(rcode), _) => format!("{rcode} is answered here{reason}"),
        (None, Some(route)) => format!("the upstreams of route {route} are asked"),
        (None, None) => format!("it is {source}{reason}"),
    }
}

#[cfg(test)]
mod tests {
    use dnsproxy_api::{manifest, validate::Place};

    use super::*;

    #[test]
    fn a_test_that_fails_tells_what_happens_instead() {
        let cases = [
            // (test, what is wrong; nothing when it holds)
            (
                "{name: printer.example, client: 10.1.2.3, expect: {rule: printer, rcode: NOERROR, answers: [10.0.0.9]}}",
                "",
            ),
            ("{name: printer.example, type: TXT, expect: {answers: []}}", ""),
            (
                "{name: cname.example, expect: {rule: cname, route: default, answers: [www.example]}}",
                "",
            ),
            (
                "{name: www.example, expect: {answers: []}}",
                "www.example A: no record is expected: the upstreams of route default are asked",
            ),
            ("{name: old.example, expect: {rule: alias, answers: [10.0.0.9]}}", ""),
            (
                r"{name: printers.example, type: PTR, expect: {answers: ['My\032Printer\(2\).example']}}",
                "",
            ),
            (
                r"{name: printers.example, type: PTR, expect: {answers: ['my\032printer(2).example.']}}",
                "",
            ),
            (r#"{name: text.example, type: TXT, expect: {answers: ['"third floor"']}}"#, ""),
            ("{name: text.example, type: TXT, expect: {answers: [third floor]}}", ""),
            ("{name: text.example, type: AAAA, expect: {answers: ['FD00:0::1']}}", ""),
            ("{name: www.example, expect: {route: default}}", ""),
            ("{name: x.lab.example, expect: {route: lab}}", ""),
            ("{name: ads.example, expect: {rcode: NXDOMAIN, rule: ads}}", ""),
            ("{name: www.example, client: 192.0.2.1, expect: {rcode: REFUSED}}", ""),
            (
                "{name: printer.example, expect: {answers: [10.0.0.8]}}",
                "printer.example A: 10.0.0.8 is expected: 10.0.0.9",
            ),
            (
                "{name: ads.example, expect: {rcode: NOERROR}}",
                "ads.example A: NOERROR is expected: NXDOMAIN is answered here (rule ads)",
            ),
            (
                "{name: www.example, expect: {rcode: NOERROR}}",
                "www.example A: NOERROR is expected: the upstreams of route default are asked",
            ),
            (
                "{name: www.example, type: AAAA, expect: {rule: ads, route: lab}}",
                "www.example AAAA: rule ads does not match, nor does any other; \
                 route lab is not taken: the upstreams of route default are asked",
            ),
        ];

        for (test, expected) in cases {
            let text = format!(
                "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\nmetadata: {{name: edge}}\nspec:\n  \
                 upstreams: [{{name: a, addresses: [192.0.2.1]}}]\n  \
                 routes: [{{name: default, zones: [.], upstreams: [a]}}, {{name: lab, upstreams: [a]}}]\n  \
                 rules:\n  - {{name: alias, match: {{names: {{exact: [old.example]}}}}, rewrite: {{name: printer.example}}}}\n  \
                 - {{name: printer, match: {{names: {{exact: [printer.example]}}}}, answer: {{records: [A 10.0.0.9]}}}}\n  \
                 - {{name: printers, match: {{names: {{exact: [printers.example]}}}}, answer: {{records: ['PTR My\\032Printer\\(2\\).example.']}}}}\n  \
                 - {{name: text, match: {{names: {{exact: [text.example]}}}}, answer: {{records: ['TXT \"third floor\"', AAAA fd00::1]}}}}\n  \
                 - {{name: cname, match: {{names: {{exact: [cname.example]}}}}, answer: {{records: [CNAME www.example]}}}}\n  \
                 - {{name: lab, match: {{names: {{zone: [lab.example]}}}}, forward: {{route: lab}}}}\n  \
                 - {{name: ads, match: {{names: {{zone: [ads.example]}}}}, block: {{}}}}\n  \
                 tests: [{test}]\n"
            );
            let proxy = manifest::read_one(&text, Place::File).unwrap();
            let found: Vec<_> = problems_without_files(&proxy)
                .iter()
                .map(|problem| problem.message.clone())
                .collect();
            let expected: Vec<_> = [expected].into_iter().filter(|text| !text.is_empty()).collect();
            assert_eq!(found, expected, "{test}");
        }
    }
}

//! `spec.tests`: names, types and clients that can be, rules and routes that are there. Whether a test holds is for who
//! can decide about queries.

use std::net::IpAddr;

use super::Report;
use crate::{
    bounds,
    units::{QueryType, Zone},
    v1alpha1::{DnsProxySpec, Expectation, Test},
};

pub(super) fn check(spec: &DnsProxySpec, report: &mut Report) {
    check_cost(spec, report);
    for (index, test) in spec.tests.iter().flatten().enumerate() {
        let Test { name, qtype, client, expect } = test;
        let path = format!("spec.tests[{index}]");
        report.parse::<Zone>(&format!("{path}.name"), name);
        if let Some(qtype) = qtype {
            report.parse::<QueryType>(&format!("{path}.type"), qtype);
        }
        if let Some(client) = client {
            report.parse::<IpAddr>(&format!("{path}.client"), client);
        }
        let Expectation { rcode, answers, rule, route } = expect;
        let path = format!("{path}.expect");
        let is_empty = rcode.is_none() && answers.is_none() && rule.is_none() && route.is_none();
        report.require(!is_empty, &path, "empty: give rcode, answers, rule or route");
        if let Some(rule) = rule {
            let is_there = spec.rules.iter().flatten().any(|known| known.name == *rule);
            report.require(is_there, format!("{path}.rule"), format!("no rule is called {rule}"));
        }
        if let Some(route) = route {
            super::rules::check_route(&format!("{path}.route"), route, spec, report);
        }
    }
}

/// Each of these patterns is compared with the name of each test.
fn check_cost(spec: &DnsProxySpec, report: &mut Report) {
    let names = spec.rules.iter().flatten().filter_map(|rule| rule.matches.names.as_ref());
    let patterns: usize =
        names.flat_map(|names| [&names.substring, &names.regex]).flatten().map(Vec::len).sum();
    let tests = spec.tests.as_deref().unwrap_or_default().len();
    let is_within = tests.saturating_mul(patterns) <= bounds::TESTED_PATTERNS;
    let message = format!(
        "{tests} tests of {patterns} substrings and regular expressions take too long: at most {} comparisons",
        bounds::TESTED_PATTERNS
    );
    report.require(is_within, "spec.tests", message);
}

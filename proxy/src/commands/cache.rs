//! `dnsproxy cache`: looks into the cache of a running proxy, and removes what should not be there.
//!
//! The work is done by the proxy, at the admin endpoints of [`crate::admin::cache`]; it shows entries to its own
//! host only, and lets nobody else remove any. In a cluster this is what `kubectl exec` is for.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use form_urlencoded::Serializer;
use serde_json::{Map, Value};

use super::{
    http::{Page, Request},
    terminal::{Output, printable, qtype},
};
use crate::{
    admin::{
        CHANGE,
        cache::{DEFAULT_LIMIT, MAX_LIMIT},
    },
    args::DEFAULT_ADMIN,
    message::{Name, Qtype},
};

/// `dnsproxy cache`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "What is given must hold for an entry to be shown or removed; without any of it, flush removes everything.\n\
                  Where a rule leads a name to others, its answer is made of theirs: flush those names as well.\n\
                  Exit code: 0 when it was done, 1 when it was not, 2 for a wrong command line."
)]
pub struct CacheArgs {
    /// What to do.
    #[arg(value_enum)]
    action: Action,

    /// Only entries of this name.
    #[arg(long, value_name = "NAME", conflicts_with = "zone")]
    name: Option<Name<'static>>,

    /// Only entries of this name and of all names below it.
    #[arg(long, value_name = "ZONE")]
    zone: Option<Name<'static>>,

    /// Only entries of this type: a mnemonic, or TYPE and a number.
    #[arg(long = "type", value_name = "TYPE", value_parser = qtype)]
    qtype: Option<Qtype>,

    /// Only entries that say that there is nothing.
    #[arg(long)]
    negative: bool,

    /// How many entries get shows at most. Default: 100.
    #[arg(long, value_name = "N", value_parser = limit)]
    limit: Option<usize>,

    /// The admin address of the proxy.
    #[arg(long, value_name = "IP:PORT", env = "DNSPROXY_ADMIN", default_value = DEFAULT_ADMIN)]
    admin: SocketAddr,

    /// How the answer looks.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What can be done with a cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Action {
    /// Tell how full it is, and how much it is used.
    Stats,
    /// Show entries, without their records.
    Get,
    /// Remove entries.
    Flush,
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("not a number from 1 to {MAX_LIMIT}"))
}

/// As long as the endpoint works on one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Room for the most entries with the longest names, each octet of them escaped.
const MAX_RESPONSE: u64 = 64 << 20;

/// Exit code 0 when it was done, 1 when it was not.
pub fn run(args: &CacheArgs) -> anyhow::Result<ExitCode> {
    let (target, change) = (target(args)?, (args.action == Action::Flush).then_some(CHANGE));
    let request = Request {
        method: if change.is_some() { "POST" } else { "GET" },
        target: &target,
        header: change,
        patience: PATIENCE,
        max_response: MAX_RESPONSE,
    };
    let Page { status, body } = request
        .send(args.admin)
        .with_context(|| format!("no answer from http://{}{target}", args.admin))?;
    if status != 200 {
        bail!("{}", printable(body.trim()));
    }
    match args.output {
        Output::Json => println!("{}", body.trim()),
        Output::Text => {
            let answer = serde_json::from_str(&body).context("not what this program knows")?;
            println!("{}", text(args.action, &answer));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The path and the query string of what is to be done.
fn target(args: &CacheArgs) -> anyhow::Result<String> {
    let CacheArgs { action, name, zone, qtype, negative, limit, admin: _, output: _ } = args;
    let mut query = Serializer::new(String::new());
    for (key, name) in [("name", name), ("zone", zone)] {
        query.extend_pairs(name.iter().map(|name| (key, name.to_string())));
    }
    query.extend_pairs(qtype.iter().map(|qtype| ("type", qtype.to_string())));
    query.extend_pairs(negative.then_some(("negative", "true")));
    let path = match action {
        Action::Stats => "/cache",
        Action::Get => {
            query.append_pair("limit", &limit.unwrap_or(DEFAULT_LIMIT).to_string());
            "/cache/entries"
        }
        Action::Flush => "/cache/flush",
    };
    // Whoever wants a few entries removed must not lose all of them.
    if *action != Action::Get && limit.is_some() {
        bail!("--limit is for get alone: leave it out");
    }
    let query = query.finish();
    if *action == Action::Stats && !query.is_empty() {
        bail!("stats are of the whole cache: leave --name, --zone, --type and --negative out");
    }
    Ok(if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") })
}

/// The answer for people.
fn text(action: Action, answer: &Value) -> String {
    match action {
        Action::Stats => lines(answer),
        Action::Flush => format!("{} removed", counted(answer.get("removed"))),
        Action::Get => {
            let entries = answer.get("entries").and_then(Value::as_array);
            let shown = table(entries.map(Vec::as_slice).unwrap_or_default());
            match answer.get("complete") {
                Some(Value::Bool(false)) => format!("{shown}\n... and more: see --limit"),
                _ => shown,
            }
        }
    }
}

fn counted(count: Option<&Value>) -> String {
    match count.and_then(Value::as_u64).unwrap_or_default() {
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    }
}

/// One line for each member.
fn lines(object: &Value) -> String {
    let members: Vec<_> = object.as_object().into_iter().flatten().collect();
    let width = members.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    let lines = members.iter().map(|(key, value)| format!("{key:width$}  {}", cell(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// One line for each object, in columns that are as wide as they must be.
fn table(rows: &[Value]) -> String {
    let rows: Vec<&Map<String, Value>> = rows.iter().filter_map(Value::as_object).collect();
    let Some(first) = rows.first() else { return "no entry".to_owned() };
    let columns: Vec<Vec<String>> = first
        .keys()
        .map(|key| {
            let cells = rows.iter().map(|row| row.get(key).map(cell).unwrap_or_default());
            std::iter::once(key.to_uppercase()).chain(cells).collect()
        })
        .collect();
    let line = |index: usize| {
        let cells = columns.iter().map(|column| {
            let width = column.iter().map(|cell| cell.chars().count()).max().unwrap_or_default();
            format!("{:width$}", column.get(index).map_or("", String::as_str))
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    (0..=rows.len()).map(line).collect::<Vec<_>>().join("\n")
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        args: CacheArgs,
    }

    #[test]
    fn a_command_line_becomes_a_request() {
        let cases = [
            // (why, arguments, target)
            ("numbers", "stats", Some("/cache")),
            ("entries", "get", Some("/cache/entries?limit=100")),
            (
                "of a name, which is written as a name",
                "get --name www.example --type aaaa --limit 5",
                Some("/cache/entries?name=www.example.&type=AAAA&limit=5"),
            ),
            ("everything", "flush", Some("/cache/flush")),
            (
                "what does not exist below a zone",
                "flush --zone a\\032b. --negative",
                Some("/cache/flush?zone=a%5C032b.&negative=true"),
            ),
            ("the root is a zone", "flush --zone .", Some("/cache/flush?zone=.")),
            ("both are one too many", "flush --name a --zone a", None),
            ("no name", "flush --name a..b", None),
            ("no type", "get --type ADDRESS", None),
            ("nothing to show", "get --limit 0", None),
            ("nothing to do", "", None),
            ("part of the numbers", "stats --negative", None),
            ("some of what fits, whichever", "flush --zone example --limit 5", None),
            ("some of the numbers", "stats --limit 5", None),
        ];

        for (why, line, expected) in cases {
            let words = std::iter::once("cache").chain(line.split_whitespace());
            let target =
                CommandLine::try_parse_from(words).ok().and_then(|it| target(&it.args).ok());
            assert_eq!(target.as_deref(), expected, "{why}");
        }
    }

    #[test]
    fn people_get_lines_and_columns() {
        let entries = json!([{"name": "a.", "ttl": 5}, {"name": "www.example.", "ttl": null}]);
        let cases = [
            (
                "numbers",
                Action::Stats,
                json!({"entries": 12, "hits": 3}),
                "entries  12\nhits     3",
            ),
            ("one", Action::Flush, json!({"removed": 1}), "1 entry removed"),
            ("several", Action::Flush, json!({"removed": 12}), "12 entries removed"),
            ("none", Action::Get, json!({"entries": [], "complete": true}), "no entry"),
            (
                "a table",
                Action::Get,
                json!({"entries": entries, "complete": true}),
                "NAME          TTL\na.            5\nwww.example.  -",
            ),
            (
                "a part of what is there",
                Action::Get,
                json!({"entries": [{"name": "a\u{1b}."}], "complete": false}),
                "NAME\na\\027.\n... and more: see --limit",
            ),
        ];

        for (why, action, answer, expected) in cases {
            assert_eq!(text(action, &answer), expected, "{why}");
        }
    }
}

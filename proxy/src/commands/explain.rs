//! `dnsproxy explain`: what would become of a query and why, without sending anything.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use form_urlencoded::Serializer;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    http::{Page, Request},
    terminal::{Output, printable, qtype},
};
use crate::{
    app,
    config::Config,
    explain::Explanation,
    message::{Name, Qclass, Qtype, Question},
};

/// `dnsproxy explain`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit code: 0 when it could be told, 1 when not, 2 for a wrong command line."
)]
pub struct ExplainArgs {
    /// The name that is asked for.
    name: Name<'static>,

    /// The type that is asked for: a mnemonic, or TYPE and a number.
    #[arg(value_parser = qtype, default_value = "A")]
    qtype: Qtype,

    /// The manifest. Without one, and without --admin: the embedded one.
    #[arg(short, long, value_name = "FILE", env = "DNSPROXY_FILE")]
    file: Option<PathBuf>,

    /// Who asks. Without one: somebody who may.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,

    /// Ask the proxy with this admin address, which knows its cache and how its servers are; it has its own manifest.
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,

    /// How the answer looks.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// As long as the endpoint may work on one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Room for the longest explanation, with every rule in it.
const MAX_RESPONSE: u64 = 8 << 20;

/// Exit code 0 when it could be told.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let explanation = match args.admin {
        Some(admin) => ask(args, admin)?,
        None => tell(args)?,
    };
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&explanation)?),
        Output::Text => {
            explanation.text().lines().for_each(|line| println!("{}", printable(line)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(args: &ExplainArgs) -> anyhow::Result<Explanation> {
    let config = Config::load_to_explain(args.file.as_deref())?;
    let pipeline = app::pipeline_of(&config)?;
    let (name, qtype) = (args.name.clone(), args.qtype);
    let question = Question { name, qtype, qclass: Qclass::IN };
    let mut explanation = pipeline.explain(&question, args.client, Instant::now());
    if config.has_undiscovered_dns() {
        let doubt =
            "names of the cluster go to its own DNS, which the operator discovers: not known here";
        explanation.doubts.push(doubt.to_owned());
    }
    Ok(explanation)
}

fn ask(args: &ExplainArgs, admin: SocketAddr) -> anyhow::Result<Explanation> {
    let mut query = Serializer::new(String::new());
    query.append_pair("name", &args.name.to_string());
    query.append_pair("type", &args.qtype.to_string());
    query.extend_pairs(args.client.map(|client| ("client", client.to_string())));
    let target = format!("/explain?{}", query.finish());
    let (patience, max_response) = (PATIENCE, MAX_RESPONSE);
    let request = Request { method: "GET", target: &target, header: None, patience, max_response };
    let Page { status, body } =
        request.send(admin).with_context(|| format!("no answer from http://{admin}{target}"))?;
    if status != 200 {
        bail!("{}", printable(body.trim()));
    }
    let value: Value = serde_json::from_str(&body).context("not what this program knows")?;
    serde_json::from_value(value).context("not what this program knows")
}

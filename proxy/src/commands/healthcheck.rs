//! `dnsproxy healthcheck`: asks `/readyz` of a proxy on this host, for Docker and exec probes.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;

use super::http::Request;
use crate::args::HealthcheckArgs;

/// An exec probe usually has a second.
const PATIENCE: Duration = Duration::from_millis(900);

/// Enough for the status line and the reason.
const MAX_RESPONSE: u64 = 4096;

/// Exit code 0 when the proxy is ready, 1 when it is not.
pub fn run(args: &HealthcheckArgs) -> anyhow::Result<ExitCode> {
    let request = Request {
        method: "GET",
        target: "/readyz",
        header: None,
        patience: PATIENCE,
        max_response: MAX_RESPONSE,
    };
    let page = request
        .send(args.admin)
        .with_context(|| format!("no answer from http://{}/readyz", args.admin))?;
    println!("{}", page.body.trim());
    Ok(if page.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

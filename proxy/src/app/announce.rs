//! What a person is told when a configuration starts to run.
//!
//! After a reload only what is new is told again: notices, and lists with what of them cannot be read.

use std::sync::Arc;

use super::App;
use crate::{
    config::{Names, Notice},
    lists::{List, Problems},
};

impl App {
    /// Says what runs now; of the notices and names those that are not known from the last configuration.
    pub(super) fn announce(&self, known: &[Notice], known_names: &Names) {
        let config = &self.config;
        self.telemetry.follow(config.log_level);
        self.metrics.config.set_running(config);
        for notice in config.notices.iter().filter(|notice| !known.contains(notice)) {
            match notice {
                Notice::PartsOfTheOperator => tracing::info!("{notice}"),
                Notice::NoClusterDns => tracing::warn!("{notice}"),
            }
        }
        announce_names(&config.names, known_names);
        for upstream in &config.upstreams {
            for server in &upstream.servers {
                let scheme = upstream.transport.scheme();
                self.telemetry.announce(&format!("upstream {} {scheme}://{server}", upstream.name));
            }
        }
        tracing::info!(hash = config.hash, "configuration loaded");
    }
}

/// Says what lists hold and what of them cannot be read.
fn announce_names(names: &Names, known: &Names) {
    for complaint in &names.complaints {
        tracing::error!("{complaint}");
    }
    let is_known = |list: &Arc<List>| known.lists.iter().any(|known| Arc::ptr_eq(known, list));
    for list in names.lists.iter().filter(|list| !is_known(list)) {
        tracing::info!(list = &*list.name, entries = list.len(), "list loaded");
        warn_of_lines(&list.name, list.problems());
    }
    if !Arc::ptr_eq(&names.hosts, &known.hosts) && !names.hosts.sources().is_empty() {
        tracing::info!(entries = names.hosts.len(), "hosts loaded");
        warn_of_lines("hosts", names.hosts.problems());
    }
}

fn warn_of_lines(list: &str, problems: &Problems) {
    for line in &problems.first {
        tracing::warn!(list, "passed over: {line}");
    }
    let more = problems.count.saturating_sub(problems.first.len());
    if more > 0 {
        tracing::warn!(list, "passed over: {more} more lines");
    }
}

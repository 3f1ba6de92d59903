//! What a person is told when a configuration starts to run.
//!
//! After a reload only what is new is told: notices, servers, and lists with what of them cannot be read.

use std::{collections::HashSet, sync::Arc};

use super::App;
use crate::{
    config::{Config, Names, Notice},
    lists::{List, Problems},
};

impl App {
    /// Says what runs now, unless it is known from the last configuration.
    pub(super) fn announce(&self, known: Option<&Config>) {
        let config = &self.config;
        self.telemetry.follow(config.log_level);
        self.metrics.config.set_running(config);
        let is_known = |notice| known.is_some_and(|known| known.notices.contains(notice));
        for notice in config.notices.iter().filter(|notice| !is_known(notice)) {
            match notice {
                Notice::PartsOfTheOperator => tracing::info!("{notice}"),
                Notice::NoClusterDns => tracing::warn!("{notice}"),
            }
        }
        let no_names = Names::default();
        announce_names(&config.names, known.map_or(&no_names, |known| &known.names));
        let known_servers: HashSet<_> = known.map(servers).into_iter().flatten().collect();
        for server in servers(config).filter(|server| !known_servers.contains(server)) {
            self.telemetry.announce(&server);
        }
        tracing::info!(hash = config.hash, "configuration loaded");
    }
}

/// The servers of all upstreams, in words.
fn servers(config: &Config) -> impl Iterator<Item = String> {
    config.upstreams.iter().flat_map(|upstream| {
        let scheme = upstream.transport.scheme();
        upstream.servers.iter().map(move |it| format!("upstream {} {scheme}://{it}", upstream.name))
    })
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

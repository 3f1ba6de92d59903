//! Everything but rules and routes: listeners, and plugins that set something for all names.

use std::{collections::BTreeSet, net::SocketAddr};

use dnsproxy_api::{
    bounds,
    v1alpha1::{AnyQuestions, Cache, CacheMode, DnsListener, Listeners},
};

use super::{
    Reader, cache, log,
    place::Read,
    syntax::{Block, Directive},
    zones,
};
use crate::import::{Draft, draft::UNTIL_THEN};

/// The ports of a block.
pub(super) fn keys(block: &Block, listeners: &mut Vec<String>, draft: &mut Draft) {
    for key in &block.keys {
        let (scheme, rest) = key.split_once("://").unwrap_or(("dns", key));
        if scheme != "dns" {
            let reason =
                format!("{scheme}:// is not served here yet: clients are served plain DNS");
            draft.note(block.line, key, reason);
            continue;
        }
        let port = rest.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let binds = block.directives.iter().filter(|it| it.name == "bind");
        let addresses: Vec<&String> = binds.flat_map(|bind| &bind.args).collect();
        let port = port.unwrap_or(53);
        for address in &addresses {
            match address.parse() {
                Ok(ip) => listeners.push(SocketAddr::new(ip, port).to_string()),
                Err(_) => {
                    let reason = format!(
                        "write the interface's address, with port {port}, into `listeners.dns.addresses`: {UNTIL_THEN}"
                    );
                    draft.note(block.line, format!("bind {address}"), reason);
                }
            }
        }
        if addresses.is_empty() {
            listeners.push(format!("[::]:{port}"));
        }
    }
}

impl Reader<'_> {
    /// What stands in the braces of a directive for which nothing is set here.
    pub(super) fn tell_of_lines(&mut self, directive: &Directive) {
        for line in &directive.lines {
            let text = format!("{} {}", directive.name, line.words.join(" "));
            self.draft.note(line.number, text, "there is nothing like it here");
        }
    }

    /// Everything but rules and routes.
    pub(super) fn setting(&mut self, directive: &Directive) -> Result<(), String> {
        match &*directive.name {
            // Always so, or done above.
            "errors" | "reload" | "loop" | "bind" => {
                self.tell_of_lines(directive);
                Ok(())
            }
            "health" | "ready" | "prometheus" => {
                let reason = "served at the admin address (`--admin`): /livez, /readyz and /metrics, with names of their own";
                self.draft.note(directive.line, directive.text(), reason);
                Ok(())
            }
            "view" => Err("it makes this block one for some clients, and here it is for all: write rules with `match.clients` in place of it".into()),
            "log" => log::read(directive, self.is_logged, self.draft),
            "any" => {
                self.draft.responses().any = AnyQuestions::Minimal;
                Ok(())
            }
            "bufsize" => {
                let size = directive.args.first().map_or(Ok(1232), |size| size.parse());
                let size: u32 = size.map_err(|_| "not a number of octets")?;
                let [least, most] = bounds::EDNS_BUFFER_SIZE;
                let kept = u16::try_from(size).unwrap_or(most).clamp(least, most);
                if u32::from(kept) != size {
                    let reason = format!("{kept} octets instead: larger ones invite fragments");
                    self.draft.note(directive.line, directive.text(), reason);
                }
                self.draft.spec.limits.get_or_insert_default().edns_buffer_size = Some(kept);
                Ok(())
            }
            "cache" => cache::read(directive, self.draft),
            "kubernetes" => {
                Err("names of the cluster are asked of the cluster's own DNS: see `clusterDNS`"
                    .into())
            }
            "loadbalance" => Err("records stay in the order of the upstream".into()),
            "minimal" => Err("answers stay as the upstream gives them".into()),
            "import" => Err("other files are not read: put its lines in the place of this one".into()),
            _ => Err("there is nothing like it here".into()),
        }
    }
}

/// Settings that are one for all names here.
pub(super) fn tell_of_settings(read: &[Read<'_>], draft: &mut Draft) {
    for plugin in ["any", "bufsize", "cache"] {
        let all: Vec<_> = read.iter().map(|it| it.block.has(plugin)).collect();
        let text = |directive: &Directive| {
            let lines = directive.lines.iter().map(|line| line.words.clone());
            (directive.args.clone(), lines.collect::<Vec<_>>())
        };
        if all.windows(2).all(|two| matches!(two, [one, other] if one.map(text) == other.map(text)))
        {
            continue;
        }
        for directive in all.into_iter().flatten() {
            let reason = "here it is one for the names of all blocks: that of the block for `.` holds, else the last one";
            draft.note(directive.line, directive.text(), reason);
        }
    }
}

/// Blocks that listen elsewhere than others: here every listener has all zones.
pub(super) fn tell_of_listeners(read: &[Read<'_>], draft: &mut Draft) {
    let first = read.first().map(|it| listeners(it.block));
    if read.iter().all(|it| Some(listeners(it.block)) == first) {
        return;
    }
    for Read { block, zones: own, forwards: _, is_listed: _, changes: _ } in read {
        let reason = "blocks listen on different ports or addresses; here all zones are served on each of them";
        draft.note(block.line, zones::listed(own), reason);
    }
}

/// The ports of a block, and the addresses.
fn listeners(block: &Block) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let ports = block.keys.iter().map(|key| key.rsplit_once(':').map(|(_, port)| port));
    let ports = ports.map(|port| port.filter(|it| it.parse::<u16>().is_ok()).unwrap_or("53"));
    let binds = block.directives.iter().filter(|it| it.name == "bind");
    let addresses = binds.flat_map(|bind| &bind.args).map(String::as_str);
    (ports.collect(), addresses.collect())
}

pub(super) fn listen(draft: &mut Draft, mut addresses: Vec<String>) {
    addresses.sort();
    addresses.dedup();
    if !addresses.is_empty() {
        draft.spec.listeners = Some(Listeners { dns: Some(DnsListener { addresses }) });
    }
}

/// What CoreDNS does where a plugin is not there.
pub(super) fn defaults(draft: &mut Draft, blocks: &[Block]) {
    let has =
        |plugin: &str| blocks.iter().flat_map(|it| &it.directives).any(|it| it.name == plugin);
    if !has("any") {
        draft.responses().any = AnyQuestions::Forward;
    }
    if !has("cache") {
        draft.spec.cache = Some(Cache { mode: CacheMode::Disabled, ..Cache::default() });
    }
    if draft.spec.upstreams.is_empty() {
        // A manifest has an upstream; this one is asked for nothing that the Corefile would not ask.
        let name = draft.unknown_upstream();
        draft.route("nowhere").upstreams.push(name);
    }
}

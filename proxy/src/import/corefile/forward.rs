//! CoreDNS's `forward`: upstreams, the route to them, and how they are treated.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use dnsproxy_api::{
    bounds,
    units::{Duration, ServerAddress},
    v1alpha1::{
        ClientCertificate, Connections, HealthCheck, Policy, Protocol, Route, Source, Tls, Upstream,
    },
};

use super::{super::draft, syntax::Directive, zones};
use crate::import::Draft;

/// What the braces say.
#[derive(Default)]
struct Options {
    server_name: Option<String>,
    tls: Vec<String>,
    is_tcp: bool,
    policy: Policy,
    max_in_flight: Option<u32>,
    idle_timeout: Option<String>,
    health: Option<HealthCheck>,
}

/// One `forward` of a block: which names it takes.
#[derive(Debug)]
pub(super) struct Forward<'b> {
    pub(super) directive: &'b Directive,
    pub(super) from: String,
    pub(super) except: BTreeSet<String>,
}

impl<'b> Forward<'b> {
    pub(super) fn read(directive: &'b Directive, draft: &mut Draft) -> Result<Self, String> {
        let [from, _, ..] = &*directive.args else {
            return Err("a zone and servers are missing".into());
        };
        let mut zones = zones::of(from).into_iter();
        let from = zones.next().ok_or("a zone is missing")?;
        if zones.next().is_some() {
            let reason = format!("of this network CoreDNS takes {from} alone");
            draft.note(directive.line, directive.text(), reason);
        }
        let excepts = directive.lines.iter().filter_map(|line| line.words.split_first());
        let except = excepts.filter(|(word, _)| *word == "except").flat_map(|(_, rest)| rest);
        let except = zones::of_all(except).into_iter().collect();
        if zones::have(&except, &from) {
            let reason = format!("CoreDNS asks for {from} itself, though `except` has it");
            draft.note(directive.line, directive.text(), reason);
        }
        Ok(Self { directive, from, except })
    }

    pub(super) fn takes(&self, name: &str) -> bool {
        zones::is_within(name, &self.from) && !zones::have(&self.except, name)
    }

    /// Makes the route for some zones; without any it is for names that were rewritten. Returns its name.
    pub(super) fn route(&self, zones: Vec<String>, draft: &mut Draft) -> Result<String, String> {
        let directive = self.directive;
        draft.at(directive.line);
        let servers = directive.args.get(1..).unwrap_or_default();
        let options = Options::read(directive, draft)?;
        let (files, servers): (Vec<_>, Vec<_>) = servers.iter().partition(|it| is_file(it));
        let targets = servers.into_iter().map(|it| target(it)).collect::<Result<Vec<_>, _>>()?;
        if targets.is_empty() && !zones.iter().any(|zone| zone == ".") {
            let file = files.first().ok_or("no server")?;
            return Err(format!("{file} is not read: write its servers as `upstreams`"));
        }
        tell_of_files(&files, targets.is_empty(), directive, draft);
        let upstreams = match targets.is_empty() {
            true => vec![draft.unknown_upstream()],
            false => upstreams(directive, targets, &options, draft)?,
        };
        // More of them than a route may have are led to it by rules.
        let is_few = zones.len() <= bounds::ZONES as usize;
        if let Some(same) = same_route(&zones, &upstreams, &options, draft) {
            same.zones.extend(zones);
            return Ok(same.name.clone());
        }
        let name = match (zones.first().map(String::as_str), upstreams.first()) {
            (Some("."), _) => draft::DEFAULT.to_owned(),
            (Some(_), Some(server)) if !is_few => draft.route_name(server),
            (Some(zone), _) => draft.route_name(zone),
            (None, _) => draft.route_name("rewritten"),
        };
        let route = draft.route(&name);
        (route.zones, route.upstreams) = (if is_few { zones } else { Vec::new() }, upstreams);
        (route.policy, route.max_in_flight) = (options.policy, options.max_in_flight);
        Ok(name)
    }
}

/// The route of another block that does the same and has room for some zones; none for the root, or for none.
fn same_route<'d>(
    zones: &[String],
    upstreams: &[String],
    options: &Options,
    draft: &'d mut Draft,
) -> Option<&'d mut Route> {
    let is_root = zones.iter().any(|zone| zone == ".");
    if zones.is_empty() || is_root || options.max_in_flight.is_some() {
        return None;
    }
    let mut routes = draft.spec.routes.iter_mut().flatten();
    routes.find(|route| {
        let room = (bounds::ZONES as usize).saturating_sub(route.zones.len());
        let is_same = route.upstreams == upstreams && route.policy == options.policy;
        is_same
            && route.max_in_flight.is_none()
            && !matches!(route.zones.first().map(String::as_str), None | Some("."))
            && zones.len() <= room
    })
}

impl Options {
    fn read(directive: &Directive, draft: &mut Draft) -> Result<Self, String> {
        let mut options = Self { policy: Policy::Random, ..Self::default() };
        for line in &directive.lines {
            let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
            match &*words {
                // Which names it takes is known by now.
                ["except", ..] => {}
                ["tls_servername", name] => options.server_name = Some((*name).to_owned()),
                ["tls", files @ ..] => {
                    options.tls = files.iter().map(|file| (*file).to_owned()).collect()
                }
                ["force_tcp"] => options.is_tcp = true,
                ["prefer_udp"] => {}
                ["policy", "random"] => options.policy = Policy::Random,
                ["policy", "round_robin"] => options.policy = Policy::RoundRobin,
                ["policy", "sequential"] => options.policy = Policy::Sequential,
                ["max_concurrent", count] => {
                    let count =
                        count.parse::<u32>().map_err(|_| format!("`{count}` is no number"))?;
                    options.max_in_flight =
                        Some(count.min(bounds::IN_FLIGHT)).filter(|count| *count > 0);
                }
                ["expire", duration] => {
                    let tell = |reason: &str| draft.note(line.number, words.join(" "), reason);
                    options.idle_timeout = bounded(duration, bounds::IDLE, tell);
                }
                ["health_check", interval, rest @ ..] => {
                    let tell = |reason: &str| draft.note(line.number, words.join(" "), reason);
                    let health = options.health.get_or_insert_default();
                    health.interval = bounded(interval, bounds::HEALTH_CHECK, tell);
                    if let ["domain", name] | [_, "domain", name] = rest {
                        health.name = Some((*name).to_owned());
                    }
                    if rest.contains(&"no_rec") {
                        draft.note(line.number, words.join(" "), "checks ask for recursion");
                    }
                }
                ["max_fails", count] => {
                    let count =
                        count.parse::<u32>().map_err(|_| format!("`{count}` is no number"))?;
                    if count == 0 {
                        draft.note(
                            line.number,
                            words.join(" "),
                            "a server that fails is always left for a while",
                        );
                    } else {
                        let most = bounds::FAILURE_THRESHOLD;
                        let threshold = Some(count.min(most));
                        options.health.get_or_insert_default().failure_threshold = threshold;
                    }
                }
                other => draft.note(line.number, other.join(" "), "there is nothing like it here"),
            }
        }
        Ok(options)
    }
}

/// A duration that a manifest takes; none, with a word about it, for one that is none here.
fn bounded(text: &str, bounds: [Duration; 2], tell: impl FnOnce(&str)) -> Option<String> {
    let [least, most] = bounds;
    match text.parse::<Duration>() {
        Ok(asked) if asked == Duration::default() => {
            tell("it cannot be switched off here: the default holds");
            None
        }
        Ok(asked) if asked < least || asked > most => {
            let kept = asked.clamp(least, most);
            tell(&format!("{kept} instead: it is from {least} to {most} here"));
            Some(kept.to_string())
        }
        Ok(_) => Some(text.to_owned()),
        Err(error) => {
            tell(&format!("{error}: the default holds"));
            None
        }
    }
}

/// One server: its address, and over TLS the name that it proves.
struct Target {
    address: SocketAddr,
    is_tls: bool,
    name: Option<String>,
}

/// Whether servers are read from a file such as /etc/resolv.conf: that of the machine that runs CoreDNS.
fn is_file(text: &str) -> bool {
    text.split_once("://").map_or(text, |(_, rest)| rest).starts_with('/')
}

fn tell_of_files(files: &[&String], is_alone: bool, directive: &Directive, draft: &mut Draft) {
    for file in files {
        let reason = if is_alone {
            format!(
                "{file} is not read: write its servers in place of 192.0.2.53 in the upstream `{}`; until then these names are not resolved",
                draft::UNKNOWN
            )
        } else {
            format!("{file} is not read: write its servers as `upstreams`, too")
        };
        draft.note(directive.line, directive.text(), reason);
    }
}

/// `IP`, `IP:PORT`, `dns://...` or `tls://IP[%NAME][:PORT]`.
fn target(text: &str) -> Result<Target, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("dns", text));
    let is_tls = match scheme {
        "dns" => false,
        "tls" => true,
        other => return Err(format!("{other}:// is not spoken to upstreams here")),
    };
    let port = if is_tls { 853 } else { 53 };
    let (address, name) = match rest.split_once('%') {
        Some((ip, behind)) => match behind.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => {
                (format!("{ip}:{port}"), Some(name))
            }
            _ => (ip.to_owned(), Some(behind)),
        },
        None => (rest.to_owned(), None),
    };
    let inner = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let ip: Result<IpAddr, _> = inner.unwrap_or(&address).parse();
    let address = match ip {
        Ok(ip) => SocketAddr::new(ip, port),
        Err(_) => address.parse().map_err(|_| {
            format!("`{rest}` is no address: an upstream is written as IP or IP:port here")
        })?,
    };
    if let Err(error) = address.to_string().parse::<ServerAddress>() {
        return Err(format!("`{rest}`: {error}"));
    }
    Ok(Target { address, is_tls, name: name.map(str::to_owned) })
}

/// One upstream for each server, or one for all that prove the same name.
fn upstreams(
    directive: &Directive,
    targets: Vec<Target>,
    options: &Options,
    draft: &mut Draft,
) -> Result<Vec<String>, String> {
    let (mut made, mut is_twice) = (Vec::<Upstream>::new(), false);
    let is_plain = targets.iter().any(|target| !target.is_tls);
    for Target { address, is_tls, name } in targets {
        let server_name = name.or_else(|| options.server_name.clone()).filter(|_| is_tls);
        let default = if is_tls { 853 } else { 53 };
        let text =
            if address.port() == default { address.ip().to_string() } else { address.to_string() };
        let protocol = match (is_tls, options.is_tcp) {
            (true, _) => Protocol::TLS,
            (false, true) => Protocol::TCP,
            (false, false) => Protocol::UDP,
        };
        let same = made.iter_mut().find(|upstream| {
            let its = upstream.tls.as_ref().and_then(|tls| tls.server_name.as_ref());
            is_tls && server_name.is_some() && its == server_name.as_ref()
        });
        match same {
            Some(upstream) if upstream.addresses.contains(&text) => is_twice = true,
            Some(upstream) => upstream.addresses.push(text),
            None => made.push(Upstream {
                name: server_name.clone().unwrap_or_else(|| format!("server-{}", address.ip())),
                addresses: vec![text],
                protocol,
                tls: tls(server_name, &options.tls).filter(|_| is_tls),
                connections: options
                    .idle_timeout
                    .clone()
                    .map(|idle| Connections { idle_timeout: Some(idle), ..Connections::default() }),
                health_check: options.health.clone(),
                ..Upstream::default()
            }),
        }
    }
    if is_plain {
        let reason = "it stays plain, as it was; where the server speaks DNS-over-TLS, leave out `protocol` and give `tls.serverName`";
        draft.note(directive.line, directive.text(), reason);
    }
    let unnamed = made.iter().any(|it| it.protocol == Protocol::TLS && it.tls.is_none());
    if unnamed {
        let reason = "without a name the certificate must be for the address itself; CoreDNS would take any name";
        draft.note(directive.line, directive.text(), reason);
    }
    let mut names = Vec::new();
    for upstream in made {
        let name = draft.upstream(upstream);
        if names.contains(&name) {
            is_twice = true;
        } else {
            names.push(name);
        }
    }
    if is_twice {
        draft.note(directive.line, directive.text(), "a server that stands here twice counts once");
    }
    Ok(names)
}

/// `tls [CA]`, `tls CERT KEY` or `tls CERT KEY CA`.
fn tls(server_name: Option<String>, files: &[String]) -> Option<Tls> {
    let file = |path: &String| Source { file: Some(path.clone()), ..Source::default() };
    let (certificate, ca) = match files {
        [ca] => (None, Some(file(ca))),
        [certificate, key] => (Some((certificate, key)), None),
        [certificate, key, ca] => (Some((certificate, key)), Some(file(ca))),
        _ => (None, None),
    };
    let client_certificate = certificate.map(|(certificate, key)| ClientCertificate {
        certificate_file: Some(certificate.clone()),
        key_file: Some(key.clone()),
        ..ClientCertificate::default()
    });
    let tls = Tls { server_name, ca, client_certificate, ..Tls::default() };
    (tls != Tls::default()).then_some(tls)
}

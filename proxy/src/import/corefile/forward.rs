//! CoreDNS's `forward`: upstreams, the route to them, and how they are treated.

use std::net::{IpAddr, SocketAddr};

use dnsproxy_api::{
    units::Zone,
    v1alpha1::{
        Allow, Block, BlockWith, ClientCertificate, Connections, HealthCheck, NameMatch, Policy,
        Protocol, Source, Tls, Upstream, rule::Rule,
    },
};

use super::{super::draft, syntax::Directive};
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
    except: Vec<String>,
}

/// What came of the forwards of a block.
#[derive(Default)]
pub(super) struct Forwards {
    /// The zones that have a route.
    pub(super) asked: Vec<String>,
    /// Those for which nobody can be asked from here.
    pub(super) failed: Vec<String>,
    pub(super) excepts: Vec<Except>,
}

/// Names that a forward leaves out.
pub(super) struct Except {
    /// Its route.
    route: String,
    zones: Vec<String>,
    line: usize,
    text: String,
}

pub(super) fn read(
    directive: &Directive,
    zones: &[String],
    draft: &mut Draft,
    forwards: &mut Forwards,
) -> Result<(), String> {
    let zones = match directive.args.first().map(String::as_str) {
        Some(".") => zones.to_vec(),
        Some(zone) => super::zones_of(zone),
        None => return Err("a zone and servers are missing".into()),
    };
    let made = route(directive, zones.clone(), draft, forwards);
    let to = if made.is_ok() { &mut forwards.asked } else { &mut forwards.failed };
    to.extend(zones);
    made
}

fn route(
    directive: &Directive,
    zones: Vec<String>,
    draft: &mut Draft,
    forwards: &mut Forwards,
) -> Result<(), String> {
    let (_, servers) = directive.args.split_first().ok_or("a zone and servers are missing")?;
    let options = Options::read(directive, draft)?;
    let (files, servers): (Vec<_>, Vec<_>) = servers.iter().partition(|it| is_file(it));
    let targets = servers.into_iter().map(|it| target(it)).collect::<Result<Vec<_>, _>>()?;
    if targets.is_empty() && !zones.iter().any(|zone| zone == ".") {
        let file = files.first().ok_or("no server")?;
        return Err(format!("{file} is not read: write its servers as `upstreams`"));
    }
    tell_of_files(&files, targets.is_empty(), directive, draft);
    let name = match zones.first().map(String::as_str) {
        Some(".") => draft::DEFAULT.to_owned(),
        Some(zone) => draft.route_name(zone),
        None => return Err("no zone".into()),
    };
    let upstreams = match targets.is_empty() {
        true => vec![draft.unknown_upstream()],
        false => upstreams(directive, targets, &options, draft)?,
    };
    if !options.except.is_empty() {
        let zones = options.except.iter().flat_map(|zone| super::zones_of(zone)).collect();
        let (route, line, text) = (name.clone(), directive.line, directive.text());
        forwards.excepts.push(Except { route, zones, line, text });
    }
    let route = draft.route(&name);
    if !route.zones.is_empty() {
        return Err("the zone has a `forward` already".into());
    }
    (route.zones, route.upstreams) = (zones, upstreams);
    (route.policy, route.max_in_flight) = (options.policy, options.max_in_flight);
    Ok(())
}

/// Refuses the names that forwards leave out, unless another route is for them.
pub(super) fn leave_out(excepts: &[Except], draft: &mut Draft) {
    let zone = |text: &String| text.parse::<Zone>().ok();
    for Except { route: own, zones, line, text } in excepts {
        draft.at(*line);
        let routes = draft.spec.routes.clone().unwrap_or_default();
        let routed = || {
            let zones =
                routes.iter().flat_map(|route| route.zones.iter().map(move |it| (&route.name, it)));
            zones.filter_map(|(route, text)| Some((route, zone(text)?)))
        };
        let left: Vec<_> = zones
            .iter()
            .filter(|text| {
                let Some(except) = zone(text) else { return false };
                let over = routed().filter(|(_, zone)| except.is_within(zone));
                let longest = over.max_by_key(|(_, zone)| zone.labels().count());
                longest.is_none_or(|(route, _)| route == own)
            })
            .cloned()
            .collect();
        if left.is_empty() {
            continue;
        }
        let is_below = |below: &Zone| left.iter().filter_map(zone).any(|it| below.is_within(&it));
        let below: Vec<_> =
            routed().filter(|(_, zone)| is_below(zone)).map(|(_, zone)| zone.to_string()).collect();
        if !below.is_empty() {
            let names = NameMatch { zone: Some(below), ..NameMatch::default() };
            let (matches, allow) = (draft::names(names), Some(Allow {}));
            draft.rule(&format!("{own} routed"), Rule { matches, allow, ..Rule::default() });
        }
        let names = NameMatch { zone: Some(left), ..NameMatch::default() };
        let (matches, block) =
            (draft::names(names), Some(Block { with: BlockWith::REFUSED, ttl: None }));
        draft.rule(&format!("{own} except"), Rule { matches, block, ..Rule::default() });
        draft.note(*line, text, "REFUSED for names that `except` leaves to nobody");
    }
}

impl Options {
    fn read(directive: &Directive, draft: &mut Draft) -> Result<Self, String> {
        let mut options = Self { policy: Policy::Random, ..Self::default() };
        for line in &directive.lines {
            let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
            match &*words {
                ["except", zones @ ..] => {
                    options.except.extend(zones.iter().map(|zone| (*zone).to_owned()));
                }
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
                        Some(count.min(dnsproxy_api::bounds::IN_FLIGHT)).filter(|count| *count > 0);
                }
                ["expire", duration] if duration.starts_with('0') => {
                    draft.note(
                        line.number,
                        words.join(" "),
                        "a connection is always kept for a while",
                    );
                }
                ["expire", duration] => options.idle_timeout = Some((*duration).to_owned()),
                ["health_check", interval, rest @ ..] => {
                    let health = options.health.get_or_insert_default();
                    health.interval = Some((*interval).to_owned());
                    if let ["domain", name] | [_, "domain", name] = rest {
                        health.name = Some((*name).to_owned());
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
                        let most = dnsproxy_api::bounds::FAILURE_THRESHOLD;
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
    Ok(Target { address, is_tls, name: name.map(str::to_owned) })
}

/// One upstream for each server, or one for all that prove the same name.
fn upstreams(
    directive: &Directive,
    targets: Vec<Target>,
    options: &Options,
    draft: &mut Draft,
) -> Result<Vec<String>, String> {
    let mut made: Vec<Upstream> = Vec::new();
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
    Ok(made.into_iter().map(|upstream| draft.upstream(upstream)).collect())
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

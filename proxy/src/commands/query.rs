//! `dnsproxy query`: asks one question and shows the answer, so that an image without other tools can test
//! itself. It goes the way of the proxy's own upstreams: what works here works there.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use hickory_proto::op::Message;
use rustls::pki_types::ServerName;
use tokio::{runtime::Builder, time::Instant};

use super::terminal::printable;
use crate::{
    message::{Header, Name, Qclass, Qtype, Question, Request},
    upstream::{
        Answer, Authentication, ConnectionLimits, HealthCheck, Pin, Policy, Roots, RouteSettings,
        Surroundings, TlsSettings, Transport, UpstreamSettings, Upstreams,
    },
    zone_text,
};

/// `dnsproxy query`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit code: 0 when an answer came, whatever its status; 9 when none came; 2 for a wrong command line."
)]
pub struct QueryArgs {
    /// Whom to ask and for what. Default: @127.0.0.1:5300, type A.
    #[arg(required = true, num_args = 1..=3, value_name = "[@IP[:PORT]] NAME [TYPE]")]
    words: Vec<String>,

    /// Ask over TCP. Without this and --tls: over UDP, and over TCP when the answer is truncated.
    #[arg(long, conflicts_with = "tls")]
    tcp: bool,

    /// Ask over TLS, on port 853. The server must have a valid certificate.
    #[arg(long)]
    tls: bool,

    /// The name that the certificate must have. Without one it must have the IP address.
    #[arg(long, value_name = "NAME", requires = "tls")]
    server_name: Option<String>,

    /// Believe the authorities of this PEM file instead of the Mozilla roots.
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,

    /// Require this pin as well, or another one that is given.
    #[arg(long, value_name = "sha256/BASE64", requires = "tls")]
    pin: Vec<Pin>,
}

/// Exit code 0 when an answer came, 9 when none came.
pub fn run(args: &QueryArgs) -> anyhow::Result<ExitCode> {
    let (server, question) = match parse(&args.words, if args.tls { TLS_PORT } else { PLAIN_PORT })
    {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("dnsproxy: {error:#}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    let settings = settings(args, server)?;
    let scheme = settings.transport.scheme();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(ask(settings, question)) {
        Ok((answer, took)) => {
            print(&answer);
            let (millis, octets) = (took.as_millis(), answer.message.len());
            println!(";; from {scheme}://{} in {millis} ms, {octets} octets", answer.server);
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            eprintln!("dnsproxy: no answer: {}", printable(&with_options(&reason)));
            Ok(ExitCode::from(NO_ANSWER))
        }
    }
}

/// With options for a manifest's words; what a server calls itself stays as it is.
fn with_options(reason: &str) -> String {
    reason.replace("set tls.ca", "set --ca").replace("tls.ca holds", "--ca holds")
}

/// The exit code of dig when no server answers.
const NO_ANSWER: u8 = 9;

/// The exit code of clap for a wrong command line.
const USAGE: u8 = 2;

const PLAIN_PORT: u16 = 53;
const TLS_PORT: u16 = 853;

/// The proxy on this host.
const DEFAULT_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5300);

/// As long as `dig` waits for one try.
const PATIENCE: Duration = Duration::from_secs(5);

fn parse(words: &[String], default_port: u16) -> anyhow::Result<(SocketAddr, Question<'static>)> {
    let (servers, rest): (Vec<_>, Vec<_>) =
        words.iter().map(String::as_str).partition(|word| word.starts_with('@'));
    let server = match servers.as_slice() {
        [] => DEFAULT_SERVER,
        [server] => parse_server(server.trim_start_matches('@'), default_port)?,
        _ => bail!("one server at a time"),
    };
    let (name, qtype) = match rest.as_slice() {
        [name] => (*name, Qtype::A),
        [name, qtype] => {
            (*name, Qtype::from_text(qtype).with_context(|| format!("{qtype} is no type"))?)
        }
        _ => bail!("one name and one type at a time"),
    };
    let name = Name::from_str(name).with_context(|| format!("{name} is no name"))?;
    Ok((server, Question { name, qtype, qclass: Qclass::IN }))
}

fn parse_server(text: &str, default_port: u16) -> anyhow::Result<SocketAddr> {
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, default_port));
    bare.or_else(|_| text.parse())
        .with_context(|| format!("@{text}: not IP or IP:port ([IPv6]:port)"))
}

fn settings(args: &QueryArgs, server: SocketAddr) -> anyhow::Result<UpstreamSettings> {
    let transport = match (args.tls, args.tcp) {
        (true, _) => Transport::Tls(tls(args)?),
        (false, true) => Transport::Tcp,
        (false, false) => Transport::Udp,
    };
    Ok(UpstreamSettings {
        name: "query".into(),
        servers: vec![server],
        transport,
        connect_timeout: PATIENCE,
        query_timeout: PATIENCE,
        connections: ConnectionLimits::default(),
        health_check: HealthCheck::default(),
        udp_payload: UDP_PAYLOAD,
    })
}

/// Small enough never to be fragmented (RFC 9715).
const UDP_PAYLOAD: u16 = 1232;

fn tls(args: &QueryArgs) -> anyhow::Result<TlsSettings> {
    let server_name = args.server_name.clone().map(|name| {
        ServerName::try_from(name.clone()).with_context(|| format!("{name} is no server name"))
    });
    let roots = match &args.ca {
        None => Roots::Mozilla,
        Some(path) => {
            Roots::Pem(std::fs::read(path).with_context(|| path.display().to_string())?.into())
        }
    };
    Ok(TlsSettings {
        server_name: server_name.transpose()?,
        pins: args.pin.clone(),
        authentication: Authentication::Pkix,
        roots,
        client_certificate: None,
        is_padded: true,
    })
}

/// The answer, and how long it took.
async fn ask(
    settings: UpstreamSettings,
    question: Question<'static>,
) -> Result<(Answer, Duration), String> {
    let route = RouteSettings {
        name: "query".into(),
        zones: vec![Name::root()],
        upstreams: vec![settings.name.clone()],
        policy: Policy::Sequential,
        fallback: Vec::new(),
        max_in_flight: 1,
    };
    let surroundings = Surroundings::default();
    let upstreams = Upstreams::build(None, vec![settings], vec![route], &surroundings);
    let request =
        Request { question, recursion_desired: true, checking_disabled: false, dnssec_ok: false };
    let Some(route) = upstreams.route(&request.question) else { return Err("no route".to_owned()) };
    // The first random number of a process takes a fifth of a second, which is not the server's doing.
    aws_lc_rs::rand::fill(&mut [0]).ok();
    let started = Instant::now();
    let answer = upstreams.exchange(route, request.into(), started + PATIENCE, || false).await;
    let took = started.elapsed();
    surroundings.tasks.cancel();
    answer.map(|answer| (answer, took)).map_err(|failure| match failure.telling() {
        Some(attempt) => format!("{}: {}", attempt.server, attempt.error),
        None => failure.ede().text,
    })
}

fn print(answer: &Answer) {
    let Answer { message, layout, .. } = answer;
    let flags = Header::read(message).map_or(String::new(), flags);
    println!(";; status: {}, flags:{flags}", layout.rcode(message));
    for error in layout.edns(message).iter().flat_map(|edns| edns.extended_errors()) {
        println!(";; extended error {}: {}", error.code, printable(&error.text));
    }
    match Message::from_vec(message) {
        Ok(decoded) => {
            let questions = decoded.queries.iter().map(|query| {
                let qtype = Qtype(query.query_type.into());
                format!(";{} {} {qtype}", zone_text::name(&query.name), query.query_class)
            });
            print_section("question", questions);
            print_section("answer", decoded.answers.iter().map(zone_text::record));
            print_section("authority", decoded.authorities.iter().map(zone_text::record));
            print_section("additional", decoded.additionals.iter().map(zone_text::record));
        }
        Err(error) => println!(";; the records cannot be shown: {error}"),
    }
}

fn flags(header: Header) -> String {
    let known = [
        (Header::QR, " qr"),
        (Header::AA, " aa"),
        (Header::TC, " tc"),
        (Header::RD, " rd"),
        (Header::RA, " ra"),
        (Header::AD, " ad"),
        (Header::CD, " cd"),
    ];
    known.iter().filter(|(bit, _)| header.has(*bit)).map(|(_, word)| *word).collect()
}

fn print_section(title: &str, lines: impl Iterator<Item = String>) {
    for (index, line) in lines.enumerate() {
        if index == 0 {
            println!(";; {title}");
        }
        println!("{}", printable(&line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_option_and_leaves_names_alone() {
        let said = with_options("mytls.ca is not trusted; set tls.ca if it is your own");
        assert_eq!(said, "mytls.ca is not trusted; set --ca if it is your own");
    }

    #[test]
    fn words_are_a_server_a_name_and_a_type() {
        let cases = [
            ("only a name", "example", Some(("127.0.0.1:5300", "example.", Qtype::A))),
            ("a type", "example. aaaa", Some(("127.0.0.1:5300", "example.", Qtype::AAAA))),
            ("a type by number", ". TYPE65", Some(("127.0.0.1:5300", ".", Qtype(65)))),
            ("a server", "@192.0.2.1 a.", Some(("192.0.2.1:53", "a.", Qtype::A))),
            ("its port", "a. @192.0.2.1:5353", Some(("192.0.2.1:5353", "a.", Qtype::A))),
            ("IPv6", "@::1 a. NS", Some(("[::1]:53", "a.", Qtype::NS))),
            ("IPv6 and a port", "@[::1]:5300 a.", Some(("[::1]:5300", "a.", Qtype::A))),
            ("a server by name would need another server first", "@dns.example a.", None),
            ("a type that is none", "a. nonsense", None),
        ];

        for (why, words, expected) in cases {
            let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
            let parsed = parse(&words, PLAIN_PORT).ok();
            let parsed = parsed.map(|(server, question)| {
                (server.to_string(), question.name.to_string(), question.qtype)
            });
            let expected =
                expected.map(|(server, name, qtype)| (server.to_owned(), name.to_owned(), qtype));
            assert_eq!(parsed, expected, "{why}");
        }
    }
}

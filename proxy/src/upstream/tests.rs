//! Exchanges with servers on loopback: who is believed, who is asked, and how often.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rcgen::date_time_ymd;
use rustls::pki_types::UnixTime;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    time::Instant,
};

use super::{
    health::Standing,
    testing::{
        Authority, Counted, DotServer, Fixture, Identity, answer_all, answer_to,
        lab::{Asked, Door, LabServer, Network, Query, Reply},
        read_frame, read_message, request, response_to, route, settings, tls, write_frame,
        write_message,
    },
    tls::{Refusal, Resumed, TlsClient},
    *,
};
use crate::message::{Name, Qclass, Qtype, Rcode, edns::ExtendedError};

mod authentication;
mod away;
mod chaos;
mod dead;
mod failure;
mod fallback;
mod hedging;
mod keeping;
mod loops;
mod places;
mod plain;
mod policies;
mod pools;
mod recovery;
mod routes;
mod silence;
mod unanswered;

const NAME: &str = "dns.example";

/// An address that is taken, but not listened at: whoever connects is refused.
struct Nobody(TcpSocket);

impl Nobody {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

fn lab(authority: &Authority) -> Transport {
    Transport::Tls(tls(authority.roots(), Some(NAME)))
}

async fn reason(fixture: &Fixture) -> &'static str {
    fixture.ask("www.example.").await.map(|_| ()).unwrap_err().reason()
}

fn metrics_text(metrics: Metrics) -> String {
    let mut registry = prometheus_client::registry::Registry::default();
    registry.sub_registry_with_prefix("dnsproxy_upstream").register_collector(Box::new(metrics));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

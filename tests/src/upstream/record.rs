//! What a scripted upstream remembers.

use std::net::SocketAddr;

use rustls::{HandshakeKind, ProtocolVersion, ServerConnection, pki_types::CertificateDer};
use tokio::sync::watch;

use crate::wire::{question_end, types};

/// What came until now.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// TCP connections that were taken.
    pub connections: usize,
    /// Those of them that ended.
    pub ended: usize,
    /// Those of them that the other side closed in order: with TLS, by a close_notify (RFC 8446 section 6.1).
    pub farewells: usize,
    /// The bytes of each connection as they came over the network: of TLS, if all is well.
    pub raw: Vec<Vec<u8>>,
    /// The handshakes that both sides finished.
    pub handshakes: Vec<Handshake>,
    /// How many handshakes went wrong.
    pub failed_handshakes: usize,
    /// How many bytes were sent to us inside of TLS.
    pub decrypted: usize,
    /// The DNS messages that clients are the cause of, whatever they came by.
    pub queries: Vec<Received>,
    /// The questions of the proxy itself: whether we live, and whether we lead back to it.
    pub checks: Vec<Received>,
    /// Datagrams, whether they are DNS messages or not; without the proxy's own questions.
    pub datagrams: usize,
}

/// A TLS handshake.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// Whether it took up an old session.
    pub is_resumed: bool,
    /// The version.
    pub version: Option<ProtocolVersion>,
    /// The key exchange, by its name.
    pub group: Option<String>,
    /// The server name that was asked for.
    pub server_name: Option<String>,
    /// The certificates that the client showed; in a session that was taken up, those from then.
    pub client_chain: Vec<CertificateDer<'static>>,
}

/// One DNS message.
#[derive(Clone, Debug)]
pub struct Received {
    /// The number of its connection; none for UDP.
    pub connection: Option<usize>,
    /// How many messages of its kind came before it, on all connections.
    pub number: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// The message.
    pub message: Vec<u8>,
}

impl Received {
    /// The ID.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.message[0], self.message[1]])
    }

    /// The name of the question as text, in lower case, with the final dot.
    pub fn name(&self) -> String {
        let mut text = String::new();
        let mut rest = &self.message[12..];
        while let Some((&length, after)) = rest.split_first().filter(|(length, _)| **length > 0) {
            let (label, after) = after.split_at(usize::from(length));
            text += &String::from_utf8_lossy(label).to_ascii_lowercase();
            text.push('.');
            rest = after;
        }
        if text.is_empty() { ".".to_owned() } else { text }
    }

    /// The type of the question.
    pub fn qtype(&self) -> u16 {
        let end = question_end(&self.message);
        u16::from_be_bytes([self.message[end - 4], self.message[end - 3]])
    }

    /// The class of the question.
    pub fn qclass(&self) -> u16 {
        let end = question_end(&self.message);
        u16::from_be_bytes([self.message[end - 2], self.message[end - 1]])
    }

    /// Whether the proxy asks it of its own accord: `. NS`, or for a name that nobody can guess.
    pub fn is_check(&self) -> bool {
        let is_random = |name: &str| {
            let label = name.split('.').next().unwrap_or_default();
            label.len() == 32 && label.bytes().all(|digit| digit.is_ascii_hexdigit())
        };
        match self.qtype() {
            types::NS => self.name() == ".",
            types::HINFO => is_random(&self.name()),
            _ => false,
        }
    }
}

/// The memory itself.
pub(super) struct Record {
    seen: watch::Sender<Seen>,
}

impl Default for Record {
    fn default() -> Self {
        Self { seen: watch::channel(Seen::default()).0 }
    }
}

impl Record {
    pub(super) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    pub(super) fn changes(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    pub(super) fn connection(&self) -> usize {
        self.with(|seen| {
            seen.raw.push(Vec::new());
            seen.connections += 1;
            seen.connections - 1
        })
    }

    pub(super) fn end(&self) {
        self.with(|seen| seen.ended += 1);
    }

    pub(super) fn farewell(&self) {
        self.with(|seen| seen.farewells += 1);
    }

    pub(super) fn raw(&self, connection: usize, bytes: &[u8]) {
        self.with(|seen| seen.raw[connection].extend_from_slice(bytes));
    }

    pub(super) fn handshake(&self, done: &ServerConnection) {
        let handshake = Handshake {
            is_resumed: done.handshake_kind() == Some(HandshakeKind::Resumed),
            version: done.protocol_version(),
            group: done.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())),
            server_name: done.server_name().map(ToOwned::to_owned),
            client_chain: done.peer_certificates().map(<[_]>::to_vec).unwrap_or_default(),
        };
        self.with(|seen| seen.handshakes.push(handshake));
    }

    pub(super) fn failed_handshake(&self) {
        self.with(|seen| seen.failed_handshakes += 1);
    }

    pub(super) fn decrypted(&self, count: usize) {
        self.with(|seen| seen.decrypted += count);
    }

    pub(super) fn datagram(&self) {
        self.with(|seen| seen.datagrams += 1);
    }

    pub(super) fn query(
        &self,
        connection: Option<usize>,
        from: SocketAddr,
        message: &[u8],
    ) -> Received {
        let mut received = Received { connection, number: 0, from, message: message.to_vec() };
        let is_check = received.is_check();
        self.with(|seen| {
            let of_its_kind = if is_check { &mut seen.checks } else { &mut seen.queries };
            received.number = of_its_kind.len();
            of_its_kind.push(received.clone());
            seen.datagrams += usize::from(connection.is_none() && !is_check);
        });
        received
    }

    fn with<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let mut result = None;
        self.seen.send_modify(|seen| result = Some(change(seen)));
        result.expect("the change was made")
    }
}

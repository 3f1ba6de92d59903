//! The floor that kernel and TLS set under every query that misses: datagrams in, one connection over TLS, datagrams out, and as
//! good as nothing between.
//!
//! `forwarder ADDRESS:PORT UPSTREAM:PORT NAME CA-FILE` sends every question on, padded as DnsProxy's are and all those of a turn in one
//! record, and gives the client the upstream's answer without its padding. There is no cache, no deadline, no other server and no check of
//! what comes back; it connects again when the upstream has closed. It ends when it is killed.

use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::fd::OwnedFd,
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use datagrams::{BATCH, Batch, HEADER, Origin, end_of_question, open};

mod datagrams;

/// RFC 8467 section 4.1, as DnsProxy does.
const BLOCK: usize = 128;

/// The root, OPT, 1232 octets, and nothing set; before the length of its data.
const OPT: [u8; 9] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0];

/// An option's code and length.
const OPTION: u16 = 4;

/// The owner by a pointer, A, IN, TTL, length and an address.
const ANSWER: usize = 16;

const DATAGRAMS: u64 = 0;
const STREAM: u64 = 1;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, upstream, name, authority] = arguments.as_slice() else {
        bail!("forwarder ADDRESS:PORT UPSTREAM:PORT NAME CA-FILE")
    };
    let socket = open(address.parse().context("ADDRESS:PORT")?)?;
    let upstream = Upstream::new(upstream, name, authority)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, DATAGRAMS))?;
    let mut forwarder = Forwarder::new(socket, upstream.connect(&epoll)?);
    loop {
        let mut events = [EpollEvent::empty(); 2];
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            match event.data() {
                // A batch that is full has left more behind, of which the next event tells.
                DATAGRAMS => forwarder.ask()?,
                _ if forwarder.answer()? => {}
                _ => forwarder.connection = upstream.connect(&epoll)?,
            }
        }
    }
}

struct Upstream {
    address: String,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

struct Connection {
    tls: ClientConnection,
    tcp: TcpStream,
    /// What was read of an answer that is not there as a whole.
    inbound: Vec<u8>,
}

impl Upstream {
    fn new(address: &str, name: &str, authority: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(authority).context("CA-FILE")? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).context("NAME")?;
        Ok(Self { address: address.to_owned(), name, config: Arc::new(config) })
    }

    /// The socket blocks: it is read when there is something, and what is written fits.
    fn connect(&self, epoll: &Epoll) -> Result<Connection> {
        let mut tls = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        let mut tcp = TcpStream::connect(&self.address).context("UPSTREAM:PORT")?;
        tcp.set_nodelay(true)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        epoll.add(&tcp, EpollEvent::new(EpollFlags::EPOLLIN, STREAM))?;
        Ok(Connection { tls, tcp, inbound: Vec::new() })
    }
}

struct Forwarder {
    socket: OwnedFd,
    connection: Connection,
    queries: Batch,
    replies: Batch,
    outbound: Vec<u8>,
    /// Who asked, and under which ID, by our own: the one that was used the longest time ago comes next.
    asked: Vec<Option<([u8; 2], Origin)>>,
    next: u16,
}

impl Forwarder {
    fn new(socket: OwnedFd, connection: Connection) -> Self {
        let (queries, replies) = (Batch::new(), Batch::new());
        let (outbound, asked) = (Vec::new(), vec![None; 1 << 16]);
        Self { socket, connection, queries, replies, outbound, asked, next: 0 }
    }

    /// Sends the questions on that have arrived.
    fn ask(&mut self) -> Result<()> {
        let received = self.queries.receive(&self.socket).context("recvmmsg")?;
        self.outbound.clear();
        for number in 0..received {
            let query = self.queries.get(number);
            if write_question(query, self.next, &mut self.outbound).is_some() {
                let asked = ([query[0], query[1]], self.queries.origin(number));
                self.asked[usize::from(self.next)] = Some(asked);
                self.next = self.next.wrapping_add(1);
            }
        }
        let Connection { tls, tcp, .. } = &mut self.connection;
        tls.writer().write_all(&self.outbound)?;
        // One that was closed is noticed when it is read.
        while tls.wants_write() && tls.write_tls(tcp).is_ok() {}
        Ok(())
    }

    /// Hands on the answers that have arrived; `false` when the upstream has closed.
    fn answer(&mut self) -> Result<bool> {
        let Connection { tls, tcp, inbound } = &mut self.connection;
        if tls.read_tls(tcp).unwrap_or(0) == 0 {
            return Ok(false);
        }
        let state = tls.process_new_packets()?;
        let end = inbound.len();
        inbound.resize(end + state.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(&mut inbound[end..])?;
        let (mut at, mut count) = (0, 0);
        while let Some(message) = first_message(&inbound[at..]) {
            at += 2 + message.len();
            let id = message.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
            let Some((id, origin)) = self.asked[usize::from(id)].take() else { continue };
            let Some(len) = write_reply(message, id, &mut self.replies.buffers[count]) else {
                continue;
            };
            self.replies.set_len(count, len);
            self.replies.address(count, &origin);
            count += 1;
            if count == BATCH {
                self.replies.send(&self.socket, count);
                count = 0;
            }
        }
        inbound.drain(..at);
        self.replies.send(&self.socket, count);
        Ok(true)
    }
}

/// Writes the question of a query behind its length, padded; `None` for what is none.
fn write_question(query: &[u8], id: u16, out: &mut Vec<u8>) -> Option<()> {
    let end = end_of_question(query)?;
    let bare = end + OPT.len() + 2 + usize::from(OPTION);
    let total = bare.next_multiple_of(BLOCK);
    let (message_len, padding_len) =
        (u16::try_from(total).ok()?, u16::try_from(total - bare).ok()?);
    out.extend_from_slice(&message_len.to_be_bytes());
    let start = out.len();
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&query[2..4]);
    out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 1]);
    out.extend_from_slice(&query[HEADER..end]);
    out.extend_from_slice(&OPT);
    out.extend_from_slice(&(padding_len + OPTION).to_be_bytes());
    out.extend_from_slice(&[0, 12]);
    out.extend_from_slice(&padding_len.to_be_bytes());
    out.resize(start + total, 0);
    Some(())
}

/// Writes question and answer of a message whose answer is one address; its length.
fn write_reply(message: &[u8], id: [u8; 2], out: &mut [u8]) -> Option<usize> {
    let mut at = HEADER;
    while let label @ 1.. = *message.get(at)? {
        at += usize::from(label) + 1;
    }
    let len = at + 5 + ANSWER;
    out.get_mut(..len)?.copy_from_slice(message.get(..len)?);
    out[..2].copy_from_slice(&id);
    // What is left out: authorities and additionals, of which OPT is one.
    out[8..HEADER].fill(0);
    Some(len)
}

/// The first message in a stream (RFC 1035 section 4.2.2).
fn first_message(stream: &[u8]) -> Option<&[u8]> {
    let len = u16::from_be_bytes(*stream.first_chunk()?);
    stream.get(2..2 + usize::from(len))
}

#[cfg(test)]
mod tests {
    use dnsproxy_tests::wire::{Query, Reply, Response, types};

    use super::*;

    #[test]
    fn a_question_is_padded_and_its_answer_comes_back_under_the_id_of_the_client() {
        for name in ["a.example.".to_owned(), format!("{}.example.", "x".repeat(60))] {
            let query = Query::new(&name, types::A).id(7).encode();
            let mut stream = Vec::new();
            write_question(&query, 4711, &mut stream).unwrap();
            let asked = first_message(&stream).unwrap();
            assert_eq!((asked.len() % BLOCK, stream.len()), (0, asked.len() + 2), "{name}");
            assert_eq!(asked[..2], 4711_u16.to_be_bytes(), "{name}");

            let answer = Response::to(asked).a([192, 0, 2, 1].into()).encode();
            let mut reply = [0; 512];
            let len = write_reply(&answer, [0, 7], &mut reply).unwrap();
            let reply = Reply::parse(&reply[..len]).unwrap();
            assert_eq!((reply.id, reply.edns.is_some()), (7, false), "{name}");
            assert_eq!(reply.addresses(), ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
        }
    }

    #[test]
    fn what_is_cut_is_no_message() {
        assert_eq!(first_message(&[0]), None);
        assert_eq!(first_message(&[0, 3, 1, 2]), None);
        assert_eq!(write_reply(&[0; HEADER], [0, 7], &mut [0; 512]), None);
        assert_eq!(write_question(&[0; HEADER], 7, &mut Vec::new()), None);
    }
}

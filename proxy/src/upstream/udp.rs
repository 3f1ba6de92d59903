//! One question over UDP: a socket, and so a port, and an ID of its own (RFC 5452 sections 9.2 and 4.3).
//!
//! The kernel gives an unbound socket a random free port, and a connected socket takes datagrams of its
//! server only. What does not match in ID and question is dropped, and the wait goes on.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{net::UdpSocket, time::timeout};

use super::{
    budget::ResendBudget,
    error::ExchangeError,
    metrics::ServerSeries,
    pending::{Response, is_bare_error, read_header, repeats},
    random,
};
use crate::message::{
    Header, Layout, Question, Request, edns::MIN_UDP_PAYLOAD, request::RequestEdns,
};

/// What came back.
#[derive(Debug)]
pub(super) enum Datagram {
    Whole(Response),
    /// The answer did not fit; it is to be had over TCP (RFC 7766 section 5).
    Truncated,
}

/// When a question is sent again, as a datagram may be lost: first after a while, and then each time after twice as long (RFC 8085
/// section 3.1.1). Before half of the server's time is over that takes a part of a budget, as the server may just be slow.
pub(super) struct Resends {
    pub(super) first: Duration,
    pub(super) half: Duration,
    pub(super) budget: Arc<ResendBudget>,
}

/// Asks, and waits for the answer, however long it takes. What is sent again is the same message from the same port, so that no more
/// answers can be guessed at.
pub(super) async fn exchange(
    server: SocketAddr,
    request: Arc<Request>,
    edns: Option<RequestEdns>,
    resends: Resends,
    series: Arc<ServerSeries>,
) -> Result<Datagram, ExchangeError> {
    let socket = connect(server).await?;
    let id = random::id();
    let mut query = Vec::with_capacity(USUAL_LEN);
    request.encode(id, edns, &mut query);
    socket.send(&query).await?;
    let offered = usize::from(edns.map_or(MIN_UDP_PAYLOAD, |edns| edns.udp_payload));
    let mut answer = pin!(receive(&socket, id, &request.question, offered, &series));
    let Resends { first, half, budget } = resends;
    budget.earn();
    let (mut waited, mut pause) = (Duration::ZERO, first);
    loop {
        if let Ok(answer) = timeout(pause, answer.as_mut()).await {
            return answer;
        }
        waited += pause;
        pause = pause.saturating_mul(2);
        if waited >= half || budget.spend() {
            // Where it does not leave, the one before may be answered all the same.
            let _ = socket.send(&query).await;
        }
    }
}

async fn connect(server: SocketAddr) -> Result<UdpSocket, ExchangeError> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    let connected = socket.connect(server).await;
    connected.map_err(|error| ExchangeError::of_connecting(error, server.ip()))?;
    Ok(socket)
}

/// Waits for the answer, among whatever else comes.
async fn receive(
    socket: &UdpSocket,
    id: u16,
    question: &Question<'_>,
    offered: usize,
    series: &ServerSeries,
) -> Result<Datagram, ExchangeError> {
    // One octet more than we offer to take shows that a datagram is longer.
    let mut buffer = vec![0; offered + 1];
    loop {
        let len = socket.recv(&mut buffer).await?;
        let message = buffer.get(..len).unwrap_or_default();
        if let Some(datagram) = read(message, id, question, offered) {
            return Ok(datagram);
        }
        series.unexpected.inc();
    }
}

/// Most queries are shorter.
const USUAL_LEN: usize = 128;

/// Reads a datagram; `None` when it is not the answer.
fn read(message: &[u8], id: u16, question: &Question<'_>, offered: usize) -> Option<Datagram> {
    let header = read_header(message).filter(|header| header.id == id)?;
    if !is_bare_error(header) && !repeats(message, header, question) {
        return None;
    }
    // One that is longer than we take (RFC 6891 section 6.2.3) has lost its end on the way to us, and one that ends too early
    // may have lost it on the way to the server: over TCP it is seen whether there is more.
    let is_whole = !header.has(Header::TC) && message.len() <= offered;
    let layout = Layout::of(message).ok().filter(|_| is_whole);
    Some(layout.map_or(Datagram::Truncated, |layout| {
        Datagram::Whole(Response { message: message.to_vec(), layout })
    }))
}

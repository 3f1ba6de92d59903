//! What a scripted upstream does with a query.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::sync::watch;

use super::Received;
use crate::wire::{Response, rcodes, types};

/// Decides what is done with each message, in the order in which they come.
pub type Script = Box<dyn FnMut(&Received) -> Vec<Action> + Send>;

/// One thing that an upstream does.
pub enum Action {
    /// Sends a message.
    Send(Vec<u8>),
    /// Sends bytes as they are: on a stream without a length before them.
    Raw(Vec<u8>),
    /// Sends a message after a while; meanwhile others are taken.
    After(Duration, Vec<u8>),
    /// Sends a message when a gate opens; meanwhile others are taken.
    When(Gate, Vec<u8>),
    /// Sends a message octet by octet, with a pause after each; on a stream only.
    Drip(Duration, Vec<u8>),
    /// Asks somebody else over UDP, with the message as it came, and sends the reply as it comes.
    Forward(SocketAddr, Vec<u8>),
    /// Sends a datagram from another port.
    FromElsewhere(Vec<u8>),
    /// Closes the connection in an orderly way.
    Close,
    /// Breaks the connection off, without a word of goodbye.
    Break,
}

/// Holds answers back until the test opens it.
#[derive(Clone)]
pub struct Gate {
    open: watch::Sender<bool>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { open: watch::channel(false).0 }
    }
}

impl Gate {
    /// Lets everything pass from now on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    pub(super) async fn passed(&self) {
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.expect("the gate lives as long as its handles");
    }
}

/// Answers every question in a way that names the question.
///
/// A: 192.0.2.1; TXT: the name; below `nx.`: NXDOMAIN; other types: NODATA; `big.*`: more than fits into a datagram.
pub fn faithful() -> Script {
    Box::new(|query| vec![Action::Send(faithful_answer(query).encode())])
}

/// The answer that [`faithful`] gives.
pub fn faithful_answer(query: &Received) -> Response {
    let response = Response::to(&query.message);
    let name = query.name();
    if name == "nx." || name.ends_with(".nx.") {
        return response.rcode(rcodes::NXDOMAIN).soa();
    }
    match query.qtype() {
        types::A => response.a(Ipv4Addr::new(192, 0, 2, 1)),
        types::TXT if name.starts_with("big.") => {
            (0..20).fold(response, |response, number| response.txt(&format!("{number:0>200}")))
        }
        types::TXT => response.txt(&name),
        _ => response.soa(),
    }
}

/// Never answers.
pub fn silent() -> Script {
    Box::new(|_| Vec::new())
}

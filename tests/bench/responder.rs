//! The floor that the kernel sets under every DNS server: datagrams in, datagrams out, and as good as nothing between.
//!
//! `responder ADDRESS:PORT` gives every question the same answer, [`ANSWER`], of the size that a server's would have: the question, one
//! A record, and an OPT record where the query had one. It waits by epoll, takes and sends up to [`BATCH`] datagrams in a system call,
//! and binds its socket as DnsProxy does. It ends when it is killed.

use std::{env, os::fd::OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use datagrams::{BATCH, Batch, HEADER, ROOM, end_of_question, open};

mod datagrams;

/// The owner is the name at offset 12; A, IN, an hour, 192.0.2.1.
const ANSWER: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 1];

/// The root, OPT, 1232 octets, and nothing set.
const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address] = arguments.as_slice() else { bail!("responder ADDRESS:PORT") };
    let socket = open(address.parse().context("ADDRESS:PORT")?)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    let mut batch = Batch::new();
    loop {
        epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE)?;
        // What fills a batch has left more behind.
        while turn(&mut batch, &socket)? == BATCH {}
    }
}

/// Answers what has arrived; says how much that was.
fn turn(batch: &mut Batch, socket: &OwnedFd) -> Result<usize> {
    let received = batch.receive(socket).context("recvmmsg")?;
    for number in 0..received {
        let len = batch.get(number).len();
        // An empty datagram for what is no query: nobody sends any here.
        let len = reply(&mut batch.buffers[number], len).unwrap_or(0);
        batch.set_len(number, len);
    }
    batch.send(socket, received);
    Ok(received)
}

/// Makes a reply of the query in the buffer. Its length; `None` if it is none.
fn reply(buffer: &mut [u8; ROOM], length: usize) -> Option<usize> {
    let end = end_of_question(buffer.get(..length)?)?;
    let has_opt = buffer[10..HEADER] != [0, 0];
    buffer[2] |= 0x80;
    buffer[3] = 0x80;
    buffer[6..HEADER].copy_from_slice(&[0, 1, 0, 0, 0, u8::from(has_opt)]);
    let mut at = end;
    let mut append = |record: &[u8]| {
        buffer.get_mut(at..at + record.len())?.copy_from_slice(record);
        at += record.len();
        Some(())
    };
    append(&ANSWER)?;
    if has_opt {
        append(&OPT)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use dnsproxy_tests::wire::{Query, Reply, types};

    use super::*;

    fn answered(query: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = [0xff; ROOM];
        buffer[..query.len()].copy_from_slice(query);
        let length = reply(&mut buffer, query.len())?;
        Some(buffer[..length].to_vec())
    }

    #[test]
    fn a_reply_is_as_large_as_a_server_s() {
        let query = Query::new("name.bench.example.", types::A);
        let cases = [
            ("without EDNS", query.clone(), 16),
            ("with EDNS", query.clone().edns(4096), 16),
            ("with an option, which is not echoed", query.option(10, b"12345678"), 16 - 12),
        ];

        for (why, query, more) in cases {
            let asked = query.encode();
            let reply = answered(&asked).unwrap();
            assert_eq!(reply.len(), asked.len() + more, "{why}");
            let reply = Reply::parse(&reply).unwrap();
            assert_eq!(reply.id, query.id, "{why}");
            assert_eq!(reply.addresses(), ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
            assert_eq!(reply.edns.is_some(), query.edns.is_some(), "{why}");
        }
    }

    #[test]
    fn what_is_no_query_gets_no_reply() {
        let query = Query::new("name.bench.example.", types::A);
        let whole = query.encode();
        let cases = [
            ("nothing", Vec::new()),
            ("a header", whole[..HEADER].to_vec()),
            ("half of a question", whole[..whole.len() - 1].to_vec()),
            ("a reply: two of these would answer each other for ever", query.with(0x8000).encode()),
        ];

        for (why, query) in cases {
            assert_eq!(answered(&query), None, "{why}");
        }
    }
}

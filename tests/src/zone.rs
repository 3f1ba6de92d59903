//! An upstream that answers from records as zone files write them.

use dnsproxy_api::units::Record;

use crate::{
    upstream::{Action, Received},
    wire::Response,
};

/// A record with its owner: `www.example. 60 IN A 192.0.2.1`.
///
/// # Panics
/// When it is none.
pub fn record(line: &str) -> (String, Record) {
    let (owner, rest) = line.trim().split_once(char::is_whitespace).expect("an owner");
    let record = rest.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
    (owner.to_owned(), record)
}

/// Answers with these records, whatever is asked.
pub fn always(lines: &[&str]) -> impl FnMut(&Received) -> Vec<Action> + Send + use<> {
    let records: Vec<_> = lines.iter().map(|line| record(line)).collect();
    move |query| {
        let response =
            records.iter().fold(Response::to(&query.message), |response, (owner, record)| {
                response.answer(owner, record.rtype, record.ttl, &record.data)
            });
        vec![Action::Send(response.encode())]
    }
}

/// Answers with the records of the name and type that are asked for, and with NXDOMAIN and an SOA record where the name
/// has none at all.
pub fn zone(lines: &[&str]) -> impl FnMut(&Received) -> Vec<Action> + Send + use<> {
    let records: Vec<_> = lines.iter().map(|line| record(line)).collect();
    move |query| {
        let (name, qtype) = (query.name().to_lowercase(), query.qtype());
        let mut owned = records.iter().filter(|(owner, _)| *owner == name).peekable();
        let nothing = if owned.peek().is_none() { crate::wire::rcodes::NXDOMAIN } else { 0 };
        let mut response = Response::to(&query.message).rcode(nothing);
        let mut is_empty = true;
        for (owner, record) in
            owned.filter(|(_, record)| record.rtype == qtype || record.rtype == 5)
        {
            response = response.answer(owner, record.rtype, record.ttl, &record.data);
            is_empty = false;
        }
        vec![Action::Send(if is_empty { response.soa() } else { response }.encode())]
    }
}

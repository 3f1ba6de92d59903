//! Who shares an exchange, and who goes on with it.

use std::{future::poll_fn, sync::atomic::AtomicBool, time::Duration};

use futures::FutureExt;
use tokio::{sync::oneshot, time::Instant};

use super::*;
use crate::{
    cache::{Bounds, Entry, Scope},
    message::{Qclass, Qtype, Question, Rcode, Request},
    pipeline::Source,
};

const SCOPE: Scope = Scope(1);

fn request(name: &str) -> Request {
    let question = Question { name: name.parse().unwrap(), qtype: Qtype::A, qclass: Qclass::IN };
    Request { question, recursion_desired: true, checking_disabled: false, dnssec_ok: false }
}

fn outcome() -> Outcome {
    let request = request("a.example.");
    let key = Key::of(&request.question, false, false, SCOPE);
    let entry = Entry::of_failure(&key, Rcode::REFUSED, &[], &Bounds::NONE, Instant::now());
    Outcome { entry, upstream: None, source: Source::Local }
}

/// Joins, and returns what makes the exchange end when it is a new one.
fn join(
    flights: &Arc<Flights>,
    request: &Request,
    scope: Scope,
) -> (Flight, Option<oneshot::Sender<()>>) {
    let (end, ended) = oneshot::channel::<()>();
    let inquiry = Inquiry { request: Arc::new(request.clone()), scope, sought: None };
    let (flight, is_new) = flights.join(inquiry, |_| async {
        ended.await.ok();
        outcome()
    });
    (flight, is_new.then_some(end))
}

#[tokio::test]
async fn only_questions_that_no_answer_could_tell_apart_share_an_exchange() {
    type Change = fn(&mut Request);
    let cases: [(&str, Change, Scope, bool); 7] = [
        (
            "the same in another case",
            |request| request.question.name = "A.exAMPle.".parse().unwrap(),
            SCOPE,
            true,
        ),
        (
            "another name",
            |request| request.question.name = "b.example.".parse().unwrap(),
            SCOPE,
            false,
        ),
        ("another type", |request| request.question.qtype = Qtype::AAAA, SCOPE, false),
        ("another class", |request| request.question.qclass = Qclass::CH, SCOPE, false),
        ("without RD", |request| request.recursion_desired = false, SCOPE, false),
        ("with CD", |request| request.checking_disabled = true, SCOPE, false),
        ("another route", |_| {}, Scope(2), false),
    ];

    for (why, change, scope, expected) in cases {
        let flights = Arc::default();
        let (_first, _end) = join(&flights, &request("a.example."), SCOPE);
        let mut second = request("a.example.");
        change(&mut second);
        assert_eq!(join(&flights, &second, scope).1.is_none(), expected, "{why}");
    }
}

#[tokio::test]
async fn one_that_leaves_ends_it_for_nobody_else() {
    let flights = Arc::default();
    let (mut first, end) = join(&flights, &request("a.example."), SCOPE);
    let (second, _) = join(&flights, &request("a.example."), SCOPE);
    assert!((&mut first).now_or_never().is_none());
    drop(first);

    end.unwrap().send(()).unwrap();
    assert_eq!(second.await.entry.rcode(), Rcode::REFUSED);
}

#[tokio::test]
async fn it_ends_with_the_last_one_of_several_that_waited() {
    let flights = Arc::default();
    let (mut first, end) = join(&flights, &request("a.example."), SCOPE);
    let (mut second, _) = join(&flights, &request("a.example."), SCOPE);
    for flight in [&mut first, &mut second] {
        assert!(flight.now_or_never().is_none());
    }
    let end = end.unwrap();
    drop(first);
    assert!(!end.is_closed());
    drop(second);
    assert!(end.is_closed(), "though it knew whom to wake");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_never_polled_again_holds_up_nobody() {
    for is_stuck_one_first in [true, false] {
        let flights = Arc::default();
        let (mut stuck, end) = join(&flights, &request("a.example."), SCOPE);
        let (waiting, _) = join(&flights, &request("a.example."), SCOPE);
        if is_stuck_one_first {
            assert!((&mut stuck).now_or_never().is_none());
        }
        let waiting = tokio::time::timeout(Duration::from_secs(1), waiting);
        let ending = async {
            assert!((&mut stuck).now_or_never().is_none());
            end.unwrap().send(()).unwrap();
        };
        let begun = Instant::now();
        tokio::join!(waiting, ending).0.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO, "stuck first: {is_stuck_one_first}");
        assert!(stuck.now_or_never().is_some(), "and may come for it later");
    }
}

#[tokio::test(start_paused = true)]
async fn who_sees_the_end_tells_the_others() {
    let flights: Arc<Flights> = Arc::default();
    // As a timer does when its time has come and its turn has not.
    let is_over = AtomicBool::new(false);
    let exchange = poll_fn(move |_| match is_over.swap(true, Ordering::Relaxed) {
        true => Poll::Ready(outcome()),
        false => Poll::Pending,
    });
    let request = Arc::new(request("a.example."));
    let (first, _) = flights.join(Inquiry { request, scope: SCOPE, sought: None }, |_| exchange);
    let second = first.clone();
    let begun = Instant::now();
    let first = tokio::time::timeout(Duration::from_secs(1), first);
    let (first, _) = tokio::join!(first, second);
    assert!(first.is_ok());
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn who_leaves_leaves_nothing_behind() {
    let flights = Arc::default();
    let (mut first, _end) = join(&flights, &request("a.example."), SCOPE);
    assert!((&mut first).now_or_never().is_none());
    for _ in 0..100 {
        assert!(first.clone().now_or_never().is_none());
    }
    assert_eq!(first.shared.waiters.count(), 1);
}

#[tokio::test]
async fn what_is_over_or_given_up_is_not_joined_any_more() {
    let flights = Arc::default();
    let (given_up, end) = join(&flights, &request("a.example."), SCOPE);
    drop(given_up);
    assert!(end.unwrap().is_closed(), "the last one has left");

    let (over, end) = join(&flights, &request("a.example."), SCOPE);
    end.unwrap().send(()).unwrap();
    over.clone().await;
    assert!(join(&flights, &request("a.example."), SCOPE).1.is_some());
    assert!(flights.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
}

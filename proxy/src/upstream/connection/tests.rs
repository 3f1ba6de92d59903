use std::sync::Arc;

use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
};

use super::*;
use crate::{
    message::Header,
    shutdown::Tasks,
    upstream::{
        metrics::{Metrics, ServerSeries},
        testing::{answer_to, frame, read_message, request, response_to, write_message},
    },
};

/// A connection of which the test is the server.
struct Lab {
    connection: Arc<Connection>,
    wire: DuplexStream,
    series: Arc<ServerSeries>,
    driver: JoinHandle<()>,
    tasks: Tasks,
}

impl Lab {
    fn open() -> Self {
        let (ours, wire) = duplex(1 << 20);
        let tasks = Tasks::default();
        let connection = Arc::new(Connection::new(Instant::now()));
        let series = Metrics::default().server(&"lab".into(), "192.0.2.1:853".parse().unwrap());
        let driver =
            drive(Arc::clone(&connection), ours, Arc::clone(&series), tasks.token().clone());
        Self { connection, wire, series, driver: tasks.spawn(driver), tasks }
    }

    fn ask(&self, name: &'static str) -> JoinHandle<Result<Response, ExchangeError>> {
        let connection = Arc::clone(&self.connection);
        self.tasks.spawn(async move {
            connection.opened().await?;
            connection.exchange(&request(name), None, Duration::from_secs(2)).await
        })
    }

    async fn read(&mut self) -> Vec<u8> {
        read_message(&mut self.wire).await
    }

    async fn write(&mut self, message: &[u8]) {
        write_message(&mut self.wire, message).await;
    }
}

fn name_of(message: &[u8]) -> String {
    crate::message::Question::read(message).unwrap().0.name.to_string()
}

#[tokio::test]
async fn answers_may_come_in_any_order() {
    let mut lab = Lab::open();
    let (first, second) = (lab.ask("a.example."), lab.ask("b.example."));
    let (one, other) = (lab.read().await, lab.read().await);

    lab.write(&answer_to(&other)).await;
    lab.write(&answer_to(&one)).await;

    assert_eq!(name_of(&first.await.unwrap().unwrap().message), "a.example.");
    assert_eq!(name_of(&second.await.unwrap().unwrap().message), "b.example.");
}

#[tokio::test]
async fn questions_of_one_turn_leave_in_one_write() {
    let mut lab = Lab::open();
    let asked: Vec<_> = ["a.example.", "b.example.", "c.example."].map(|name| lab.ask(name)).into();
    tokio::task::yield_now().await;
    let mut octets = vec![0; 4096];
    let len = tokio::io::AsyncReadExt::read(&mut lab.wire, &mut octets).await.unwrap();

    let mut rest = &octets[..len];
    for _ in asked {
        let (_, len) = first_frame(rest).expect("all three are there at once");
        rest = &rest[len..];
    }
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_frame_may_come_in_pieces_and_many_may_come_at_once() {
    let mut lab = Lab::open();
    let (first, second) = (lab.ask("a.example."), lab.ask("b.example."));
    let (one, other) = (lab.read().await, lab.read().await);
    let octets = [frame(&answer_to(&one)), frame(&answer_to(&other))].concat();

    let (start, end) = octets.split_at(1);
    lab.wire.write_all(start).await.unwrap();
    tokio::task::yield_now().await;
    let (middle, end) = end.split_at(40);
    lab.wire.write_all(middle).await.unwrap();
    tokio::task::yield_now().await;
    lab.wire.write_all(end).await.unwrap();

    assert!(first.await.unwrap().is_ok());
    assert!(second.await.unwrap().is_ok());
}

#[tokio::test]
async fn what_was_not_asked_is_dropped_and_counted() {
    let mut lab = Lab::open();
    let asked = lab.ask("a.example.");
    let query = lab.read().await;
    let mut stray = answer_to(&query);
    crate::message::set_id(&mut stray, Header::read(&query).unwrap().id.wrapping_add(1));

    lab.write(&stray).await;
    lab.write(&answer_to(&query)).await;

    assert!(asked.await.unwrap().is_ok());
    assert_eq!(lab.series.unexpected.get(), 1);
}

/// Makes what a server sends out of what it was asked.
type Spoiler = fn(&[u8]) -> Vec<u8>;

#[tokio::test]
async fn an_answer_that_cannot_be_one_ends_the_connection() {
    let cases: [(&str, Spoiler, &str); 6] = [
        (
            "another question",
            |_| {
                let mut other = Vec::new();
                request("evil.example.").encode(0, None, &mut other);
                answer_to(&other)
            },
            "mismatch",
        ),
        (
            "no question in an answer",
            |query| {
                let mut answer = response_to(query, 0)[..12].to_vec();
                answer[5] = 0;
                answer
            },
            "mismatch",
        ),
        ("less than a header", |query| query[..11].to_vec(), "closed"),
        ("a query", <[u8]>::to_vec, "closed"),
        (
            "another opcode",
            |query| {
                let mut answer = answer_to(query);
                answer[2] |= 0x20;
                answer
            },
            "closed",
        ),
        (
            "a record that leads outside",
            |query| {
                let mut answer = answer_to(query);
                answer.pop();
                answer
            },
            "malformed",
        ),
    ];

    for (why, make, expected) in cases {
        let mut lab = Lab::open();
        let (asked, innocent) = (lab.ask("a.example."), lab.ask("b.example."));
        let (query, _) = (lab.read().await, lab.read().await);
        let mut answer = make(&query);
        if why != "less than a header" {
            crate::message::set_id(&mut answer, Header::read(&query).unwrap().id);
        }
        lab.write(&answer).await;

        let error = asked.await.unwrap().map(|_| ()).unwrap_err();
        assert_eq!(error.reason(), expected, "{why}");
        let error = innocent.await.unwrap().map(|_| ()).unwrap_err();
        assert!(error.may_retry(), "{why}: the others may ask again, {error:?}");
        assert!(!lab.connection.is_taking(), "{why}");
        lab.driver.await.unwrap();
    }
}

#[tokio::test]
async fn an_error_without_a_question_is_matched_by_its_id() {
    let mut lab = Lab::open();
    let asked = lab.ask("a.example.");
    let query = lab.read().await;
    let mut error = response_to(&query, 5)[..12].to_vec();
    error[5] = 0;

    lab.write(&error).await;

    let response = asked.await.unwrap().unwrap();
    assert_eq!(response.layout.rcode(&response.message), crate::message::Rcode::REFUSED);
}

#[tokio::test]
async fn a_truncated_answer_fails_and_the_connection_stays() {
    let mut lab = Lab::open();
    let asked = lab.ask("a.example.");
    let mut answer = answer_to(&lab.read().await);
    answer[2] |= 0x02;
    lab.write(&answer).await;

    assert!(matches!(asked.await.unwrap(), Err(ExchangeError::Truncated)));
    assert!(lab.connection.is_taking());
}

#[tokio::test]
async fn when_the_server_hangs_up_everybody_learns_it() {
    let mut lab = Lab::open();
    let (first, second) = (lab.ask("a.example."), lab.ask("b.example."));
    lab.read().await;
    drop(lab.wire);

    assert!(matches!(first.await.unwrap(), Err(ExchangeError::Closed)));
    assert!(matches!(second.await.unwrap(), Err(ExchangeError::Closed)));
    lab.driver.await.unwrap();
    assert_eq!(lab.series.connections.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn silence_after_a_question_ends_the_connection() {
    let mut lab = Lab::open();
    let started = Instant::now();
    let (early, late) = (lab.ask("a.example."), {
        tokio::time::advance(Duration::from_secs(1)).await;
        lab.ask("b.example.")
    });
    lab.read().await;

    assert!(matches!(early.await.unwrap(), Err(ExchangeError::Timeout(_))));
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert!(matches!(late.await.unwrap(), Err(ExchangeError::Closed)), "it need not wait as well");
    lab.driver.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_slow_name_does_not_end_the_connection_and_its_id_is_not_used_again() {
    let mut lab = Lab::open();
    let slow = lab.ask("slow.example.");
    let slow_query = lab.read().await;
    let quick = lab.ask("quick.example.");
    let query = lab.read().await;
    lab.write(&answer_to(&query)).await;
    assert!(quick.await.unwrap().is_ok());

    assert!(matches!(slow.await.unwrap(), Err(ExchangeError::Timeout(_))));
    assert!(lab.connection.is_taking());

    let next = lab.ask("next.example.");
    let query = lab.read().await;
    lab.write(&answer_to(&slow_query)).await;
    lab.write(&answer_to(&query)).await;
    let response = next.await.unwrap().unwrap();
    assert_eq!(
        name_of(&response.message),
        "next.example.",
        "the late answer meets no newer question"
    );
    assert_eq!(lab.series.unexpected.get(), 0, "it was known");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_one_that_waits_is_not() {
    let mut lab = Lab::open();
    let asked = lab.ask("a.example.");
    let query = lab.read().await;
    lab.write(&answer_to(&query)).await;
    asked.await.unwrap().unwrap();
    let answered = Instant::now();

    lab.driver.await.unwrap();

    assert!(answered.elapsed() >= IDLE_LIMIT, "{:?}", answered.elapsed());
    assert!(!lab.connection.is_taking());
}

#[tokio::test(start_paused = true)]
async fn octets_that_never_become_a_message_are_no_sign_of_life() {
    let mut lab = Lab::open();
    let asked = lab.ask("a.example.");
    let answer = frame(&answer_to(&lab.read().await));
    for octet in answer.chunks(1).take(4) {
        lab.wire.write_all(octet).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
    }

    assert!(matches!(asked.await.unwrap(), Err(ExchangeError::Timeout(_))));
    assert!(!lab.connection.is_taking());
}

#[tokio::test(start_paused = true)]
async fn the_idle_limit_that_a_server_grants_is_kept() {
    let mut lab = Lab::open();
    let asked = lab.ask("a.example.");
    let mut answer = answer_to(&lab.read().await);
    answer[11] = 1;
    // An OPT record with edns-tcp-keepalive of 5 s (RFC 7828).
    answer.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0b\0\x02\0\x32");
    lab.write(&answer).await;

    asked.await.unwrap().unwrap();
    let answered = Instant::now();
    lab.driver.await.unwrap();
    let seconds = answered.elapsed().as_secs();
    assert!((5..7).contains(&seconds), "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_it_gets_its_connection_closed() {
    let mut lab = Lab::open();
    let asked = lab.ask("a.example.");
    let mut answer = answer_to(&lab.read().await);
    answer[11] = 1;
    // An OPT record with edns-tcp-keepalive of zero (RFC 7828).
    answer.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0b\0\x02\0\0");
    lab.write(&answer).await;

    asked.await.unwrap().unwrap();
    let answered = Instant::now();
    lab.driver.await.unwrap();
    assert_eq!(answered.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn who_retires_a_connection_gets_the_last_answers() {
    let mut lab = Lab::open();
    let asked = lab.ask("a.example.");
    let query = lab.read().await;
    lab.connection.retire();
    tokio::task::yield_now().await;

    let refused = lab.ask("b.example.");
    assert!(matches!(refused.await.unwrap(), Err(ExchangeError::Closed)));
    lab.write(&answer_to(&query)).await;
    assert!(asked.await.unwrap().is_ok());
    lab.driver.await.unwrap();
}

#[tokio::test]
async fn a_connection_whose_task_is_dropped_leaves_nobody_waiting() {
    let mut lab = Lab::open();
    let asked = lab.ask("a.example.");
    lab.read().await;
    lab.driver.abort();

    assert!(matches!(asked.await.unwrap(), Err(ExchangeError::Closed)));
}

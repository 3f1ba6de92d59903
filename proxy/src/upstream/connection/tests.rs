use std::{future::poll_fn, sync::Arc, task::Poll};

use futures::FutureExt;
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::timeout,
};

use super::{state::first_frame, *};
use crate::{
    message::Header,
    shutdown::Tasks,
    upstream::{
        metrics::{Metrics, ServerSeries},
        pending::Response,
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
        Self::expecting(None)
    }

    /// That the server closes it after so many answers.
    fn expecting(answers: Option<usize>) -> Self {
        let (ours, wire) = duplex(1 << 20);
        let (tasks, limits) = (Tasks::default(), ConnectionLimits::default());
        let connection = Arc::new(Connection::new(&limits, answers, Instant::now()));
        let series = Self::series();
        let driver =
            drive(Arc::clone(&connection), ours, Arc::clone(&series), tasks.token().clone());
        Self { connection, wire, series, driver: tasks.spawn(driver.map(drop)), tasks }
    }

    fn series() -> Arc<ServerSeries> {
        Metrics::default().server(&"lab".into(), "192.0.2.1:853".parse().unwrap())
    }

    fn ask(&self, name: &'static str) -> JoinHandle<Result<Response, ExchangeError>> {
        let connection = Arc::clone(&self.connection);
        self.tasks.spawn(async move {
            let mut asked = connection.ask(&request(name).into(), None, Instant::now())?;
            poll_fn(|cx| asked.poll(cx)).await
        })
    }

    async fn read(&mut self) -> Vec<u8> {
        read_message(&mut self.wire).await
    }

    /// The names of all that was sent; it must have been flushed.
    async fn read_all(&mut self) -> Vec<Vec<u8>> {
        let mut queries = Vec::new();
        while let Ok(query) = timeout(Duration::from_millis(10), self.read()).await {
            queries.push(query);
        }
        queries
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
    let cases: [(&str, Spoiler, &str); 4] = [
        (
            "another question",
            |_| {
                let mut other = Vec::new();
                request("evil.example.").encode(0, None, &mut other);
                answer_to(&other)
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
        assert!(
            matches!(
                error,
                ExchangeError::Closed | ExchangeError::ClosedFirst | ExchangeError::ClosedAround
            ),
            "{why}: the others may ask again, {error:?}"
        );
        assert!(!lab.connection.is_taking(), "{why}");
        lab.driver.await.unwrap();
    }
}

/// One zone may have broken records; whoever asks for it must not disturb the others.
#[tokio::test]
async fn a_broken_answer_to_the_right_question_fails_alone() {
    let cases: [(&str, Spoiler); 2] = [
        ("no question in an answer", |query| {
            let mut answer = response_to(query, 0)[..12].to_vec();
            answer[5] = 0;
            answer
        }),
        ("a record that leads outside", |query| {
            let mut answer = answer_to(query);
            answer.pop();
            answer
        }),
    ];
    for (why, make) in cases {
        let mut lab = Lab::open();
        let (asked, innocent) = (lab.ask("a.example."), lab.ask("b.example."));
        let (broken, good) = (lab.read().await, lab.read().await);
        lab.write(&make(&broken)).await;
        lab.write(&answer_to(&good)).await;

        let error = asked.await.unwrap().map(|_| ()).unwrap_err();
        assert_eq!(error.reason(), "malformed", "{why}");
        assert!(innocent.await.unwrap().is_ok(), "{why}");
        assert!(lab.connection.is_taking(), "{why}");
    }
}

#[tokio::test]
async fn what_is_no_answer_and_for_nobody_disturbs_nobody() {
    let mut lab = Lab::open();
    let asked = lab.ask("a.example.");
    let query = lab.read().await;
    let id = Header::read(&query).unwrap().id;
    // As an unsolicited message of DSO (RFC 8490 section 5.1).
    let mut message = query.clone();
    message[2] = 6 << 3;
    crate::message::set_id(&mut message, id ^ 1);

    lab.write(&message).await;
    lab.write(&answer_to(&query)).await;

    assert!(asked.await.unwrap().is_ok());
    assert_eq!(lab.series.unexpected.get(), 1);
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

    assert!(matches!(first.await.unwrap(), Err(ExchangeError::ClosedFirst)), "it may be why");
    assert!(matches!(second.await.unwrap(), Err(ExchangeError::ClosedAround)));
    lab.driver.await.unwrap();
    assert_eq!(lab.series.connections.get(), 0);
}

#[tokio::test]
async fn what_came_before_the_server_hung_up_is_for_who_waits_for_it() {
    let mut lab = Lab::open();
    let first = lab.ask("a.example.");
    let query = lab.read().await;
    // All of it before the driver's next turn, in which nothing can be sent any more.
    lab.write(&answer_to(&query)).await;
    let mut second =
        lab.connection.ask(&request("b.example.").into(), None, Instant::now()).unwrap();
    drop(lab.wire);

    assert_eq!(name_of(&first.await.unwrap().unwrap().message), "a.example.");
    let second = poll_fn(|cx| second.poll(cx)).await;
    assert!(matches!(second, Err(ExchangeError::Closed)), "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn no_more_is_sent_than_the_server_answered_last_time_until_it_answers_more() {
    let mut lab = Lab::expecting(Some(2));
    let asked = ["a.", "b.", "c.", "d.", "e.", "f."].map(|name| lab.ask(name));
    let mut sent = Vec::new();
    for expected in [2, 0, 1, 2] {
        let queries = lab.read_all().await;
        assert_eq!(queries.len(), expected, "after {} others", sent.len());
        sent.extend(queries);
        let oldest = sent.remove(0);
        lab.write(&answer_to(&oldest)).await;
    }
    assert_eq!(lab.connection.kind_of_end(), End::Refuted, "it answers more");
    let [a, b, c, d, e, f] = asked;
    for answered in [a, b, c, d] {
        answered.await.unwrap().unwrap();
    }
    drop((e, f));
}

#[tokio::test(start_paused = true)]
async fn what_was_held_back_has_no_part_in_the_end() {
    let mut lab = Lab::expecting(Some(1));
    let [first, second, third] = ["a.", "b.", "c."].map(|name| lab.ask(name));
    let query = lab.read().await;
    assert!(lab.connection.load(Instant::now()).unwrap().is_holding);
    lab.write(&answer_to(&query)).await;
    first.await.unwrap().unwrap();
    assert_eq!(name_of(&lab.read().await), "b.");
    drop(lab.wire);

    assert!(matches!(second.await.unwrap(), Err(ExchangeError::ClosedAround)), "as expected");
    assert!(matches!(third.await.unwrap(), Err(ExchangeError::ClosedUnsent)));
    lab.driver.await.unwrap();
    assert_eq!(lab.connection.kind_of_end(), End::Cut { answered: 1 });
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_makes_room_for_those_that_are_held_back() {
    let mut lab = Lab::expecting(Some(1));
    let now = Instant::now();
    let ask = |name: &str| lab.connection.ask(&request(name).into(), None, now).unwrap();
    let (first, second, _third) = (ask("a."), ask("b."), ask("c."));
    assert_eq!(name_of(&lab.read().await), "a.");

    drop(second);
    drop(first);
    assert_eq!(name_of(&lab.read().await), "c.", "the second one was never sent");
    assert_eq!(lab.connection.waiting(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_held_back_by_silence() {
    let mut lab = Lab::expecting(Some(1));
    let _asked = ["a.", "b.", "c."].map(|name| lab.ask(name));
    assert_eq!(lab.read_all().await.len(), 1);

    assert!(lab.connection.suspect());

    assert_eq!(lab.read_all().await.len(), 2, "the others follow");
    assert_eq!(lab.connection.kind_of_end(), End::Refuted);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_cannot_be_answered() {
    let mut lab = Lab::expecting(Some(1));
    let [first, second] = ["a.", "b."].map(|name| lab.ask(name));
    let query = lab.read().await;
    let mut early = response_to(&query, 2)[..12].to_vec();
    early[5] = 0;
    let next = u16::from_be_bytes([query[0], query[1]]).wrapping_add(1);
    early[..2].copy_from_slice(&next.to_be_bytes());

    lab.write(&early).await;
    lab.write(&answer_to(&query)).await;
    first.await.unwrap().unwrap();
    let query = lab.read().await;
    lab.write(&answer_to(&query)).await;

    assert_eq!(name_of(&second.await.unwrap().unwrap().message), "b.");
    assert_eq!(lab.series.unexpected.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_gets_no_new_questions_until_something_comes() {
    let mut lab = Lab::open();
    let now = Instant::now();
    let (mut slow, quick) = (
        lab.connection.ask(&request("a.example.").into(), None, now).unwrap(),
        lab.ask("b.example."),
    );
    let (_, query) = (lab.read().await, lab.read().await);
    assert_eq!(slow.silent_since(), now);

    slow.connection().suspect();
    assert_eq!(lab.connection.load(now), None);
    tokio::time::sleep(Duration::from_millis(100)).await;
    lab.write(&answer_to(&query)).await;
    quick.await.unwrap().unwrap();

    assert_eq!(slow.silent_since(), Instant::now(), "a slow name is no silence");
    assert!(lab.connection.load(now).is_some(), "it lives");
    assert!(poll_fn(|cx| Poll::Ready(slow.poll(cx).is_pending())).await);
}

#[tokio::test]
async fn questions_are_taken_while_the_connection_is_made_and_leave_when_it_is_open() {
    let connection = Arc::new(Connection::new(&ConnectionLimits::default(), None, Instant::now()));
    let mut asked = connection.ask(&request("a.example.").into(), None, Instant::now()).unwrap();
    assert_eq!(asked.could_be_answered_from(), None);
    let (ours, mut wire) = duplex(1 << 20);
    let (series, tasks) = (Lab::series(), Tasks::default());

    tasks.spawn(drive(connection, ours, series, tasks.token().clone()));
    let query = read_message(&mut wire).await;
    write_message(&mut wire, &answer_to(&query)).await;

    assert!(poll_fn(|cx| asked.poll(cx)).await.is_ok());
    assert!(asked.could_be_answered_from().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_connection_takes_to_be_made_is_no_silence_of_the_server() {
    let connection = Arc::new(Connection::new(&ConnectionLimits::default(), None, Instant::now()));
    let asked = connection.ask(&request("a.example.").into(), None, Instant::now()).unwrap();
    tokio::time::advance(Duration::from_millis(90)).await;
    let (ours, mut wire) = duplex(1 << 20);
    let (opened, tasks) = (Instant::now(), Tasks::default());

    tasks.spawn(drive(connection, ours, Lab::series(), tasks.token().clone()));
    read_message(&mut wire).await;

    assert_eq!(asked.silent_since(), opened);
}

#[tokio::test]
async fn who_waits_for_a_connection_that_cannot_be_made_learns_why() {
    let connection = Arc::new(Connection::new(&ConnectionLimits::default(), None, Instant::now()));
    let mut asked = connection.ask(&request("a.example.").into(), None, Instant::now()).unwrap();

    connection.end(&ExchangeError::Refused);

    let error = poll_fn(|cx| asked.poll(cx)).await.map(|_| ()).unwrap_err();
    assert_eq!(error.reason(), "connection_refused");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_given_up_leaves_its_id_to_its_late_answer() {
    let mut lab = Lab::open();
    let slow = lab.ask("slow.example.");
    let slow_query = lab.read().await;
    slow.abort();
    assert!(slow.await.unwrap_err().is_cancelled());
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

    assert!(
        answered.elapsed() >= ConnectionLimits::default().idle_timeout,
        "{:?}",
        answered.elapsed()
    );
    assert!(!lab.connection.is_taking());
}

#[tokio::test(start_paused = true)]
async fn octets_that_never_become_a_message_are_no_sign_of_life() {
    let mut lab = Lab::open();
    let now = Instant::now();
    let asked = lab.connection.ask(&request("a.example.").into(), None, now).unwrap();
    let answer = frame(&answer_to(&lab.read().await));
    for octet in answer.chunks(1).take(4) {
        lab.wire.write_all(octet).await.unwrap();
        tokio::task::yield_now().await;
    }

    assert_eq!(asked.silent_since(), now);
}

#[tokio::test(start_paused = true)]
async fn that_an_old_question_has_held_up_others_is_seen_when_it_is_answered_first() {
    let cases = [
        // (why, which one is answered first, for how many milliseconds it has held up the other)
        ("in order", 0, 300),
        ("out of order", 1, 0),
    ];
    for (why, first, millis) in cases {
        let mut lab = Lab::open();
        let _asked = ["a.example.", "b.example."].map(|name| lab.ask(name));
        let queries = [lab.read().await, lab.read().await];
        tokio::time::sleep(Duration::from_millis(300)).await;
        for index in [first, 1 - first] {
            lab.write(&answer_to(&queries[index])).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }

        let load = lab.connection.load(Instant::now()).unwrap();
        assert_eq!(load.held_up_for, Duration::from_millis(millis), "{why}");
    }
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
    let minute = Duration::from_secs(60);
    let half = answered + Duration::from_millis(2500);
    assert!(!lab.connection.is_quiet_for(minute, answered));
    assert!(lab.connection.is_quiet_for(minute, half), "it is time to use it, before it is closed");
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

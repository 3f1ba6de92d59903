//! The state of a server, in time that is made up.

use super::*;

const SILENCE: ExchangeError = ExchangeError::Timeout(Duration::from_secs(2));

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_server_that_cannot_be_connected_to_is_left_alone_at_once_and_for_longer_each_time() {
    let (health, start) = (Health::unknown(3), Instant::now());
    assert_eq!(health.standing(start), Standing::Up, "nothing speaks against a new one");

    assert!(health.failed(&ExchangeError::Refused, start, start), "news");
    assert_eq!(health.standing(start + millis(700)), Standing::Down);
    assert_eq!(health.standing(start + millis(1250)), Standing::Doubtful, "it may be tried");

    let mut now = start;
    for _ in 0..20 {
        now += Duration::from_secs(60);
        assert!(!health.failed(&ExchangeError::Refused, now, now), "no news");
    }
    assert_eq!(health.standing(now + millis(22_000)), Standing::Down, "at most half a minute");
    assert_eq!(health.standing(now + millis(37_500)), Standing::Doubtful);

    assert!(health.answered(false, now), "news");
    assert_eq!(health.standing(now), Standing::Up, "the first answer clears it");
    assert!(health.failed(&ExchangeError::Refused, now, now));
    assert_eq!(health.standing(now + millis(1250)), Standing::Doubtful, "from the start");
}

#[test]
fn those_who_wait_for_a_server_to_be_back_do_not_make_its_back_off_longer() {
    let (health, start) = (Health::unknown(3), Instant::now());
    let mut now = start;
    while now < start + RESTART {
        health.failed(&ExchangeError::Refused, now, now);
        assert!(health.next_try(now) == Some(now + PAUSE));
        now += PAUSE;
    }
    assert_eq!(health.standing(now + millis(1250)), Standing::Doubtful, "as after the first");

    health.failed(&ExchangeError::Refused, now, now);
    assert_eq!(health.next_try(now), None, "it is down");
    let later = now + FORGOTTEN;
    health.failed(&ExchangeError::Refused, later, later);
    assert_eq!(health.next_try(later), Some(later + PAUSE), "nobody knows of a time in between");
}

#[test]
fn one_of_those_who_wait_looks_for_a_server_at_a_time() {
    let (health, now) = (Health::unknown(3), Instant::now());
    health.failed(&ExchangeError::Refused, now, now);
    assert!(health.may_look(now));
    assert!(!health.may_look(now + millis(199)));
    assert!(health.may_look(now + millis(200)));

    health.answered(true, now);
    assert!(health.may_look(now) && health.may_look(now), "it is back");
}

#[test]
fn the_back_off_doubles_up_to_half_a_minute_and_differs_from_pod_to_pod() {
    let cases = [
        // (why, failures, chance, milliseconds)
        ("the first one", 3, 0.5, 1000),
        ("below the threshold, of a server that cannot be connected to", 1, 0.5, 1000),
        ("the second one", 4, 0.5, 2000),
        ("the fifth one", 7, 0.5, 16_000),
        ("the sixth one", 8, 0.5, 30_000),
        ("the last one", u32::MAX, 0.5, 30_000),
        ("the shortest", 3, 0.0, 750),
        ("the longest", 3, 1.0, 1250),
    ];

    for (why, failures, chance, expected) in cases {
        assert_eq!(back_off(failures, 3, chance), millis(expected), "{why}");
    }
}

/// At a server that takes questions in order a slow name is one, many times a minute.
#[test]
fn of_a_silence_that_ends_people_are_told_nothing() {
    let (health, start) = (Health::unknown(3), Instant::now());
    let at = |number: u64| start + millis(number * 2000);
    assert!(health.connected());
    assert!(health.suspected());
    assert!(!health.answered(true, at(1)));

    assert!(health.suspected());
    assert!(!health.failed(&SILENCE, at(1), at(2)) && !health.failed(&SILENCE, at(2), at(3)));
    assert!(health.failed(&SILENCE, at(3), at(4)), "unhealthy");
    assert!(health.answered(true, at(5)), "and well again");
}

#[test]
fn a_silence_makes_a_server_suspect_and_only_the_third_one_unhealthy() {
    let (health, start) = (Health::unknown(3), Instant::now());
    let at = |number: u64| start + millis(number * 2000);
    assert!(health.failed(&SILENCE, at(0), at(1)));
    assert_eq!(health.standing(at(1)), Standing::Doubtful);
    assert!(!health.failed(&SILENCE, at(1), at(2)), "no news");
    assert!(health.failed(&SILENCE, at(2), at(3)), "unhealthy now");
    assert_eq!(health.standing(at(3)), Standing::Down);
    assert!(!health.failed(&SILENCE, at(4), at(5)));
    assert_eq!(health.snapshot().state, State::Unhealthy, "until it answers");
    assert!(!health.connected(), "to take a connection is no answer");
    assert_eq!(health.snapshot().state, State::Unhealthy);
    assert!(health.answered(false, at(6)));
}

#[test]
fn a_failure_that_many_queries_share_counts_once() {
    let (health, start) = (Health::unknown(3), Instant::now());
    let (begun, ended) = (start, start + millis(2000));
    for query in 0..100 {
        health.failed(&SILENCE, begun + millis(query), ended + millis(query));
    }
    assert_eq!(health.snapshot().state, State::Suspect);

    for query in 0..100 {
        let later = ended + millis(3000 + query);
        health.failed(&SILENCE, ended + millis(1000), later);
    }
    assert_eq!(health.snapshot().state, State::Suspect, "two failures, not two hundred");
}

#[test]
fn a_server_that_leads_back_is_out_until_a_question_does_not_come_back() {
    let (health, start) = (Health::unknown(3), Instant::now());
    assert!(health.looped(start + millis(5)));
    health.answered(false, start + millis(6));
    assert!(!health.did_not_loop(start), "the answer to the question that came back");
    assert_eq!(health.standing(start + Duration::from_secs(3600)), Standing::Out);
    assert!(matches!(health.snapshot().error, Some(ExchangeError::Loop)));

    assert!(health.did_not_loop(start + millis(10)), "news");
    assert_eq!(health.standing(start + millis(20)), Standing::Up);
}

#[test]
fn a_refused_connection_is_not_tried_again_at_once_and_a_lost_one_is() {
    let (health, now) = (Health::unknown(3), Instant::now());
    health.failed(&ExchangeError::Refused, now, now);
    assert!(health.fresh_failure(now + millis(199)).is_some());
    assert!(health.fresh_failure(now + millis(200)).is_none());

    let health = Health::unknown(3);
    health.failed(&ExchangeError::Closed, now, now);
    assert!(health.fresh_failure(now).is_none());
}

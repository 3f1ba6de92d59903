//! What becomes of a server when: times of trouble, with times between them in which all is well.

use std::time::Duration;

use super::Dice;

/// From when on a server is in a condition, until the next one begins.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Phase {
    pub(in super::super) from: Duration,
    pub(in super::super) condition: Condition,
    pub(in super::super) cut: Cut,
}

/// How a server is for a while.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Condition {
    /// It answers after so many milliseconds.
    Well(u64),
    /// The same, the questions of a connection one after the other.
    InOrder(u64),
    /// It closes each connection after so many answers.
    ClosesAfter(usize),
    /// It lets connections be idle for so many units of 100 ms.
    Grants(u16),
    /// It closes connections that are idle for so many milliseconds.
    ClosesIdle(u64),
    Refuses,
    Hangs,
    /// It takes connections and says nothing.
    Mute,
    /// It answers probes alone.
    Deaf,
    /// It has nothing but this rcode.
    Fails(u8),
    Garbles,
    /// It closes the connection on each question.
    Closes,
}

/// What happens to the connections that there are when a condition begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum Cut {
    None,
    Closed,
    /// Nothing comes on them any more.
    Dead,
}

/// Trouble comes every 20 seconds at most where `pace` is one, and more often where it is less.
pub(super) fn draw(dice: &mut Dice, calm: Duration, pace: f64) -> Vec<Phase> {
    let usual = Condition::Well(dice.pick(&[1, 5, 5, 20, 60]));
    let mut phases = vec![Phase { from: Duration::ZERO, condition: usual, cut: Cut::None }];
    let mut from = draw_time(dice, 0.5, 20.0 * pace);
    while from < calm {
        let flaps = if dice.has_luck(15) { 2 + dice.below(19) } else { 1 };
        let (trouble, longest) = draw_trouble(dice);
        let longest = if flaps > 1 { 1.5 } else { longest };
        for _ in 0..flaps {
            let until = from + draw_time(dice, 0.05, longest);
            if until >= calm {
                break;
            }
            phases.push(Phase { from, condition: trouble, cut: draw_cut(dice, trouble) });
            let cut = if dice.has_luck(30) { draw_cut(dice, usual) } else { Cut::None };
            phases.push(Phase { from: until, condition: usual, cut });
            from = until + draw_time(dice, 0.05, longest);
        }
        from += draw_time(dice, 0.5, 20.0 * pace);
    }
    phases
}

fn draw_time(dice: &mut Dice, least: f64, most: f64) -> Duration {
    Duration::from_secs_f64(dice.spread(least, most))
}

/// And for how many seconds at most.
fn draw_trouble(dice: &mut Dice) -> (Condition, f64) {
    let all = [
        (Condition::Well(dice.pick(&[1, 30, 150, 400, 900, 1500])), 20.0),
        (Condition::InOrder(dice.pick(&[1, 2, 5])), 30.0),
        (Condition::ClosesAfter(dice.pick(&[1, 2, 3, 10, 100])), 20.0),
        (Condition::Grants(dice.pick(&[0, 0, 3, 20])), 20.0),
        (Condition::ClosesIdle(dice.pick(&[50, 500, 2000, 4000])), 30.0),
        (Condition::Refuses, 20.0),
        (Condition::Hangs, 20.0),
        (Condition::Mute, 20.0),
        (Condition::Deaf, 20.0),
        (Condition::Fails(dice.pick(&[2, 5, 4, 1])), 20.0),
        (Condition::Garbles, 10.0),
        (Condition::Closes, 10.0),
    ];
    dice.pick(&all)
}

fn draw_cut(dice: &mut Dice, condition: Condition) -> Cut {
    match condition {
        Condition::Refuses | Condition::Closes => Cut::Closed,
        Condition::Hangs | Condition::Mute => Cut::Dead,
        Condition::Well(_)
        | Condition::InOrder(_)
        | Condition::ClosesAfter(_)
        | Condition::Grants(_)
        | Condition::ClosesIdle(_)
        | Condition::Deaf
        | Condition::Fails(_)
        | Condition::Garbles => dice.pick(&[Cut::None, Cut::Closed, Cut::Dead]),
    }
}

/// All of these servers are gone at a time, and back at another.
pub(super) fn have_outage(dice: &mut Dice, servers: &mut [Vec<Phase>], calm: Duration) {
    let condition = dice.pick(&[
        Condition::Refuses,
        Condition::Hangs,
        Condition::Mute,
        Condition::Deaf,
        Condition::Closes,
        Condition::Fails(2),
    ]);
    let length = calm.mul_f64(dice.spread(0.01, 0.7));
    let from = (calm - length).mul_f64(dice.fraction());
    let until = from + length;
    for phases in servers {
        let last = phases.iter().rfind(|phase| phase.from <= until).unwrap().condition;
        phases.retain(|phase| !(from..=until).contains(&phase.from));
        let cut = draw_cut(dice, condition);
        phases.push(Phase { from, condition, cut });
        phases.push(Phase { from: until, condition: last, cut: Cut::None });
        phases.sort_by_key(|phase| phase.from);
    }
}

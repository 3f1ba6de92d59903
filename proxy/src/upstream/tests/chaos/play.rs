//! Plays a plan: servers change as it says, and questions are asked.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Asked, ConnectionLimits, Door, LabServer, Network, Query, Reply, Tasks,
    plan::{Condition, Cut, Dice, Kind, Phase, Plan},
};

/// A question, and what came of it.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// From the start of the run.
    pub(super) at: Duration,
    pub(super) asked: Asked,
}

/// A run that is over.
pub(super) struct Played {
    pub(super) network: Network,
    pub(super) start: Instant,
    /// Those that somebody waited for.
    pub(super) questions: Vec<Question>,
    /// How many were asked, with those that nobody waited for.
    pub(super) count: usize,
    /// The most connections to each server of the route's own that were open at a time, worn ones aside, and when.
    pub(super) most_open: Vec<(i64, Duration)>,
}

pub(super) async fn play(plan: &Plan) -> Played {
    let count = |phases: &[Vec<Phase>]| u8::try_from(phases.len()).unwrap();
    let network = Network::with(count(&plan.servers), count(&plan.spares), |upstream, route| {
        let (max, max_in_flight) = (plan.max, plan.max_in_flight);
        upstream.connections =
            ConnectionLimits { max, max_in_flight, ..ConnectionLimits::default() };
        route.policy = plan.policy;
    });
    let start = Instant::now();
    let servers = network.servers.iter().zip(&plan.servers);
    for (server, phases) in servers.chain(network.spares.iter().zip(&plan.spares)) {
        Tasks::default().spawn(change(server.clone(), phases.clone(), start));
    }
    let network = network.warm().await;
    let most_open = vec![(0, Duration::ZERO); plan.servers.len()];
    let mut player = Player {
        plan,
        dice: Dice::new(!plan.seed),
        network,
        start,
        waiting: Vec::new(),
        count: 0,
        free: Duration::ZERO,
        most_open,
    };
    player.ask_all().await;
    let Player { network, waiting, count, most_open, .. } = player;
    let mut questions = Vec::with_capacity(waiting.len());
    for Waiting { name, kind, at, asked } in waiting {
        questions.push(Question { name, kind, at, asked: asked.await.unwrap() });
    }
    Played { network, start, questions, count, most_open }
}

/// Has a server be as it should at each time.
async fn change(server: LabServer, phases: Vec<Phase>, start: Instant) {
    for Phase { from, condition, cut } in phases {
        sleep_until(start + from).await;
        enter(&server, condition);
        match cut {
            Cut::None => {}
            Cut::Closed => server.close_connections(),
            Cut::Dead => server.kill_connections(),
        }
    }
}

fn enter(server: &LabServer, condition: Condition) {
    server.be_as_usual();
    match condition {
        Condition::InOrder(_) => server.answer_in_order(),
        Condition::ClosesAfter(answers) => server.close_after(answers),
        Condition::Grants(units) => server.grant(units),
        Condition::ClosesIdle(millis) => {
            server.close_when_idle_for(Duration::from_millis(millis));
        }
        Condition::Refuses => server.door(Door::Refuses),
        Condition::Hangs => server.door(Door::Hangs),
        Condition::Well(_)
        | Condition::Mute
        | Condition::Deaf
        | Condition::Fails(_)
        | Condition::Garbles
        | Condition::Closes => {}
    }
    server.script(move |query| reply(condition, query));
}

fn reply(condition: Condition, query: &Query) -> Reply {
    match condition {
        Condition::Mute | Condition::Hangs | Condition::Refuses => Reply::Never,
        Condition::Deaf if query.name.ends_with(".example.") => Reply::Never,
        Condition::Fails(rcode) => Reply::After(Duration::from_millis(USUAL), rcode),
        Condition::Garbles => Reply::Garbled,
        Condition::Closes => Reply::Close,
        Condition::Well(millis) | Condition::InOrder(millis) => reply_to_name(millis, query),
        Condition::Deaf
        | Condition::ClosesAfter(_)
        | Condition::Grants(_)
        | Condition::ClosesIdle(_) => reply_to_name(USUAL, query),
    }
}

/// Milliseconds.
const USUAL: u64 = 5;

fn reply_to_name(usual: u64, query: &Query) -> Reply {
    let after = |millis, rcode| Reply::After(Duration::from_millis(millis), rcode);
    let mut labels = query.name.split('.');
    let word = labels.next().unwrap();
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
    match kind.unwrap_or(Kind::Quick) {
        Kind::Quick | Kind::Left => after(usual, 0),
        Kind::Slow => {
            let number: u64 = labels.next().unwrap().parse().unwrap();
            after(usual + 200 + number % 10 * 100, 0)
        }
        Kind::Never => Reply::Never,
        Kind::Bad => after(usual, 2),
        Kind::Closing => Reply::Close,
        Kind::ClosingLater => Reply::CloseAfter(Duration::from_millis(20)),
        Kind::Stuck => Reply::Stuck,
        Kind::Garbled => Reply::Garbled,
    }
}

/// Who asks.
struct Player<'p> {
    plan: &'p Plan,
    dice: Dice,
    network: Network,
    start: Instant,
    waiting: Vec<Waiting>,
    count: usize,
    /// When the next answer may stick.
    free: Duration,
    most_open: Vec<(i64, Duration)>,
}

struct Waiting {
    name: String,
    kind: Kind,
    at: Duration,
    asked: JoinHandle<Asked>,
}

impl Player<'_> {
    /// At random times as long as there are faults; and then quick names alone, ten in a second.
    async fn ask_all(&mut self) {
        let (calm, rate) = (self.plan.calm, self.plan.load.rate());
        let mut now = Duration::from_millis(50);
        while now < calm {
            sleep_until(self.start + now).await;
            self.ask_some(now);
            let pause = -self.dice.fraction().max(1e-9).ln() / rate;
            now += Duration::from_secs_f64(pause.clamp(0.001, 5.0));
        }
        for tenth in 0..CALM {
            let now = calm + Duration::from_millis(100) * tenth;
            sleep_until(self.start + now).await;
            self.ask(Kind::Quick, now);
        }
    }

    fn ask_some(&mut self, now: Duration) {
        let kind = self.draw_kind(now);
        let is_burst = kind == Kind::Quick && self.plan.load.burst > 0 && self.dice.has_luck(3);
        for _ in 0..if is_burst { self.plan.load.burst } else { 1 } {
            self.ask(kind, now);
        }
        let servers = &self.network.upstreams.routing.routes[0].servers;
        for (server, most) in servers.iter().zip(&mut self.most_open) {
            let worn = i64::try_from(server.pool().worn()).unwrap();
            *most = (*most).max((server.series().connections.get() - worn, now));
        }
    }

    fn draw_kind(&mut self, now: Duration) -> Kind {
        let mut drawn = self.dice.fraction() * self.plan.load.rate();
        let drawn = self.plan.load.rates.iter().find(|(_, rate)| {
            drawn -= rate;
            drawn <= 0.0
        });
        let kind = drawn.map_or(Kind::Quick, |(kind, _)| *kind);
        if kind != Kind::Stuck {
            return kind;
        }
        if now < self.free || self.plan.calm < now + APART {
            return Kind::Quick;
        }
        self.free = now + APART;
        kind
    }

    fn ask(&mut self, kind: Kind, at: Duration) {
        let name = format!("{}.{}.example.", kind.word(), self.count);
        self.count += 1;
        let asked = self.network.start(name.clone());
        if kind == Kind::Left {
            leave(asked, self.dice.below(60));
        } else {
            self.waiting.push(Waiting { name, kind, at, asked });
        }
    }
}

/// A client that is gone.
fn leave(asked: JoinHandle<Asked>, millis: u64) {
    Tasks::default().spawn(async move {
        sleep(Duration::from_millis(millis)).await;
        asked.abort();
    });
}

/// For so many tenths of a second it is looked whether all is well again.
const CALM: u32 = 100;

/// After a name whose answer sticks the next one comes when nobody waits for it any more: each takes up a connection.
const APART: Duration = Duration::from_secs(6);

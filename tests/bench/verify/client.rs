//! Clients that ask all the time, and look at every answer.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use dnsproxy_tests::wire::types;

use crate::{
    group::Group,
    judge::{Asked, Verdict, judge},
    truth::{Random, now},
};

/// How many ask at the same time, each from a port of its own: as many of one group as of any other.
const CLIENTS: u64 = 6;

/// Queries that each of them has out.
const WINDOW: usize = 64;

/// As long as dnsperf waits; most resolvers have given up by then.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a client that gets nothing looks whether it has waited long enough.
const PULSE: Duration = Duration::from_millis(100);

/// Answers that should not be of which it is told what they are; more are counted.
const EXAMPLES: u64 = 10;

/// One in so many questions is for AAAA.
const AAAA: u64 = 8;

/// What is asked, and until when.
pub(crate) struct Load {
    pub(crate) server: SocketAddr,
    /// Those of the groups, in their order; of the first alone, where there are no rules.
    pub(crate) clients: Vec<IpAddr>,
    /// Answers from a cache.
    pub(crate) count: u64,
    pub(crate) time: Duration,
    /// Different ones: those of low numbers are asked for most, as by Zipf's law.
    pub(crate) names: u64,
}

/// How many answers there were of each kind.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// A line for each kind, those that must not be included.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let kinds = ["cached", "fresh", "own", "stale", "failed", "lost", "wrong"];
        kinds.into_iter().map(|kind| format!("{kind} {}", self.0.get(kind).copied().unwrap_or(0)))
    }
}

/// Runs all clients.
pub(crate) fn run(load: &Load) -> Result<Tally> {
    let (cached, noted) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut total = Tally::default();
    thread::scope(|scope| {
        let groups = load.clients.iter().copied().zip(Group::ALL).cycle();
        let clients: Vec<_> = (1..=CLIENTS)
            .zip(groups)
            .map(|(number, who)| {
                let (cached, noted) = (&cached, &noted);
                scope.spawn(move || Client::new(load, number, who, cached, noted)?.run())
            })
            .collect();
        for client in clients {
            let Ok(tally) = client.join() else { bail!("a client panicked") };
            for (what, count) in tally?.0 {
                *total.0.entry(what).or_default() += count;
            }
        }
        Ok(())
    })?;
    Ok(total)
}

/// What became of the last query with an ID.
enum Slot {
    Free,
    Out(Asked, Instant),
    Lost(Asked),
    Answered,
}

struct Client<'a> {
    load: &'a Load,
    group: Group,
    socket: UdpSocket,
    random: Random,
    /// By ID.
    slots: Vec<Slot>,
    /// The one that was used last.
    last_id: u16,
    out: usize,
    tally: Tally,
    /// Of all clients.
    cached: &'a AtomicU64,
    noted: &'a AtomicU64,
}

impl<'a> Client<'a> {
    fn new(
        load: &'a Load,
        number: u64,
        (address, group): (IpAddr, Group),
        cached: &'a AtomicU64,
        noted: &'a AtomicU64,
    ) -> Result<Self> {
        let socket = UdpSocket::bind((address, 0))?;
        socket.connect(load.server)?;
        socket.set_read_timeout(Some(PULSE))?;
        Ok(Self {
            load,
            group,
            socket,
            random: Random(number << 32 | 0x9e37_79b9),
            slots: (0..1 << 16).map(|_| Slot::Free).collect(),
            last_id: 0,
            out: 0,
            tally: Tally::default(),
            cached,
            noted,
        })
    }

    fn run(mut self) -> Result<Tally> {
        let end = Instant::now() + self.load.time;
        let mut looked = Instant::now();
        while self.out > 0 || self.goes_on(end) {
            while self.out < WINDOW && self.goes_on(end) {
                self.ask()?;
            }
            self.take()?;
            if looked.elapsed() > PULSE {
                self.give_up();
                looked = Instant::now();
            }
        }
        Ok(self.tally)
    }

    fn goes_on(&self, end: Instant) -> bool {
        self.cached.load(Ordering::Relaxed) < self.load.count && Instant::now() < end
    }

    fn ask(&mut self) -> Result<()> {
        let asked = self.question();
        let id = self.free_id();
        self.socket.send(&asked.query(id)).context("send")?;
        self.slots[usize::from(id)] = Slot::Out(asked, Instant::now());
        self.out += 1;
        Ok(())
    }

    /// Each octave of the numbers is as likely as any other.
    fn question(&mut self) -> Asked {
        let random = self.random.next();
        let octave = 1 << ((random >> 8) % u64::from(self.load.names.ilog2()));
        let number = octave + self.random.next() % octave;
        let qtype = if random.is_multiple_of(AAAA) { types::AAAA } else { types::A };
        let mut spelling = self.random.next();
        let edns = spelling & 1 == 1;
        let mut name = format!("www.n{number}.bench.example.");
        name = name
            .chars()
            .map(|character| {
                spelling = spelling.rotate_right(1);
                if spelling & 1 == 1 { character.to_ascii_uppercase() } else { character }
            })
            .collect();
        Asked { name, qtype, edns, at: now(), group: self.group }
    }

    /// All of them in turn, so that an answer that comes late or twice is known for what it is.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if !matches!(self.slots[usize::from(self.last_id)], Slot::Out(..)) {
                return self.last_id;
            }
        }
    }

    fn take(&mut self) -> Result<()> {
        let mut message = [0; 4096];
        let length = match self.socket.recv(&mut message) {
            Ok(length) => length,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error).context("receive"),
        };
        let message = &message[..length];
        let Some(id) = message.first_chunk::<2>().map(|id| usize::from(u16::from_be_bytes(*id)))
        else {
            self.blame("too short", message);
            return Ok(());
        };
        match std::mem::replace(&mut self.slots[id], Slot::Answered) {
            Slot::Out(asked, _) => {
                self.out -= 1;
                self.weigh(&asked, message);
            }
            Slot::Lost(asked) => self.weigh(&asked, message),
            Slot::Free | Slot::Answered => self.blame("nobody asked", message),
        }
        Ok(())
    }

    fn weigh(&mut self, asked: &Asked, message: &[u8]) {
        match judge(asked, message) {
            Verdict::Fresh => self.tally.count("fresh"),
            Verdict::Cached => {
                self.cached.fetch_add(1, Ordering::Relaxed);
                self.tally.count("cached");
            }
            Verdict::Own => self.tally.count("own"),
            Verdict::Stale => self.tally.count("stale"),
            Verdict::Failed => self.note("failed", &format!("{asked:?}"), message),
            Verdict::Wrong(fault) => self.blame(&format!("{fault:?} for {asked:?}"), message),
        }
    }

    fn blame(&mut self, why: &str, message: &[u8]) {
        self.note("wrong", why, message);
    }

    fn note(&mut self, what: &'static str, why: &str, message: &[u8]) {
        self.tally.count(what);
        if self.noted.fetch_add(1, Ordering::Relaxed) < EXAMPLES {
            eprintln!("{what}: {why}: {message:02x?}");
        }
    }

    fn give_up(&mut self) {
        for slot in &mut self.slots {
            if matches!(slot, Slot::Out(_, sent) if sent.elapsed() > PATIENCE)
                && let Slot::Out(asked, _) = std::mem::replace(slot, Slot::Free)
            {
                *slot = Slot::Lost(asked);
                self.out -= 1;
                self.tally.count("lost");
            }
        }
    }
}

//! A load of DNS queries at a steady rate, and what became of each.
//!
//! `load SERVER RATE SECONDS` asks over UDP, each name once and each query once: there is no client here that would try again, and so
//! hide what was lost. A line for each query: when it was sent, in microseconds since 1970; after how many microseconds
//! the answer came, and its rcode, or `-` and `-` where none came within [`PATIENCE`].

use std::{
    env,
    io::{self, BufWriter, Write as _},
    net::{SocketAddr, UdpSocket},
    process, thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};
use dnsproxy_tests::wire::{Query, types};
use nix::sys::socket::{setsockopt, sockopt};

/// The ID of a query is its number, so that an answer says which query it is for.
const MAX_QUERIES: u64 = 1 << 16;

/// As long as dnsperf waits; most resolvers have given up by then.
const PATIENCE: Duration = Duration::from_secs(5);

/// Room for all answers that may come.
const BUFFER_LEN: usize = 64 << 20;

/// When an answer came, and its rcode; by the number of the query.
type Answers = Vec<Option<(Instant, u8)>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [server, rate, seconds] = arguments.as_slice() else { bail!("load SERVER RATE SECONDS") };
    let (rate, seconds): (u64, u64) =
        (rate.parse().context("RATE")?, seconds.parse().context("SECONDS")?);
    let count = rate * seconds;
    ensure!(rate > 0 && count <= MAX_QUERIES, "at most {MAX_QUERIES} queries");

    let socket = connect(server.parse().context("SERVER")?)?;
    let (began, epoch) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH)?);
    let end = began + Duration::from_secs(seconds) + PATIENCE;
    let receiver = {
        let socket = socket.try_clone()?;
        thread::spawn(move || receive(&socket, count, end))
    };
    let sent = send(&socket, count, Duration::from_secs(1) / u32::try_from(rate)?);
    let Ok(answers) = receiver.join() else { bail!("the receiver panicked") };

    print(&sent?, &answers?, |at| epoch + (at - began))
}

fn connect(server: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    // A server that had to wait gives all answers at once, and they are many clients' that are one here.
    setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_LEN)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket)
}

/// Sends each query at its own time, however late the one before it was; says when each was sent.
fn send(socket: &UdpSocket, count: u64, interval: Duration) -> Result<Vec<Instant>> {
    let run = process::id();
    let mut sent = Vec::new();
    let mut due = Instant::now();
    for number in 0..count {
        let query = Query::new(&format!("n{number}.{run}.bench.example."), types::A)
            .id(u16::try_from(number)?)
            .encode();
        thread::sleep(due.saturating_duration_since(Instant::now()));
        sent.push(Instant::now());
        socket.send(&query).context("send")?;
        due += interval;
    }
    Ok(sent)
}

/// Takes answers until all have come, or the time is over.
fn receive(socket: &UdpSocket, count: u64, end: Instant) -> Result<Answers> {
    let mut answers: Answers = vec![None; usize::try_from(count)?];
    let mut missing = answers.len();
    let mut message = [0; 4096];
    while missing > 0 && Instant::now() < end {
        match socket.recv(&mut message) {
            Ok(12..) => {
                let number = usize::from(u16::from_be_bytes([message[0], message[1]]));
                let Some(answer @ None) = answers.get_mut(number) else { continue };
                *answer = Some((Instant::now(), message[3] & 0x0f));
                missing -= 1;
            }
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error).context("receive"),
        }
    }
    Ok(answers)
}

/// `since_epoch` turns a moment of this run into one that other programs know.
fn print(
    sent: &[Instant],
    answers: &Answers,
    since_epoch: impl Fn(Instant) -> Duration,
) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for (sent, answer) in sent.iter().zip(answers) {
        let at = since_epoch(*sent).as_micros();
        match answer.map(|(came, rcode)| (came.saturating_duration_since(*sent), rcode)) {
            Some((latency, rcode)) if latency <= PATIENCE => {
                writeln!(out, "{at} {} {rcode}", latency.as_micros())?
            }
            _ => writeln!(out, "{at} - -")?,
        }
    }
    Ok(out.flush()?)
}

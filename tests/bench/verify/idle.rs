//! Connections that ask once and then stay open, as those of many quiet clients do.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dnsproxy_tests::wire::{Query, Reply, framed, rcodes, types};

/// Longer than any server here takes while thousands connect.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens so many, says so on standard output, keeps them for this time, and says how many are still open then.
pub(crate) fn hold(server: SocketAddr, count: u32, time: Duration) -> Result<()> {
    let connections = (0..count)
        .map(|number| open(server).with_context(|| format!("connection {number}")))
        .collect::<Result<Vec<_>>>()?;
    println!("open {count}");
    thread::sleep(time);
    let kept = connections.iter().filter(|connection| is_open(connection)).count();
    println!("kept {kept}");
    Ok(())
}

fn open(server: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let query = Query::new("idle.bench.example.", types::A);
    stream.write_all(&framed(&query.encode()))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply)?;
    let reply = Reply::parse(&reply)?;
    ensure!(reply.id == query.id && reply.rcode() == rcodes::NOERROR, "not answered: {reply:?}");
    Ok(stream)
}

fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).is_ok()
        && stream.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

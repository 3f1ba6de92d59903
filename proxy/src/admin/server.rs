//! A small HTTP/1.1 server of which every part has a bound: the files that it opens are those that DNS needs.
//!
//! A connection carries one request, so that whoever holds one holds it for [`PATIENCE`] at most. At
//! [`MAX_CONNECTIONS`] the oldest one is closed for a new one. Letting the new one wait would be the other
//! way; then a few hundred half requests would keep kubelet's probe waiting until it restarts the pod. No
//! endpoint has a use for a body: none is read.

use std::{collections::VecDeque, io, time::Duration};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::local::Peer;
use crate::{listener::Trouble, open_files};

/// Connections at a time: our guess, several times what probes, scrapers and an operator open together.
const MAX_CONNECTIONS: usize = 64;

/// From the first octet of a connection to the end of the request's head: our guess.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// From the start of a connection to its end: how long Prometheus waits for a page unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest head of a request, in octets: what other servers take by default.
const MAX_HEAD: usize = 8192;

/// How long to wait when no further file can be opened.
const BREATHER: Duration = Duration::from_millis(50);

/// Serves until `stop`, and then what has been accepted by that time.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut open = Open::new(open_files::for_admin(MAX_CONNECTIONS));
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = open.tasks.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let router = router.clone().layer(Extension(Peer(peer)));
                    open.add(converse(stream, router)).await;
                }
                Err(error) => survive(error).await?,
            },
        }
    }
    drop(listener);
    while open.tasks.join_next().await.is_some() {}
    Ok(())
}

async fn survive(error: io::Error) -> io::Result<()> {
    match Trouble::of(&error) {
        Trouble::Transient => {}
        Trouble::Exhausted => sleep(BREATHER).await,
        Trouble::Fatal => return Err(error),
    }
    Ok(())
}

/// The open connections.
struct Open {
    most: usize,
    tasks: JoinSet<()>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Open {
    /// None yet, and so many at most.
    fn new(most: usize) -> Self {
        Self { most, tasks: JoinSet::new(), oldest_first: VecDeque::new() }
    }

    /// Adds a connection; when there are too many, the oldest one ends before.
    async fn add(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        self.oldest_first.retain(|connection| !connection.is_finished());
        while self.tasks.len() >= self.most {
            if let Some(oldest) = self.oldest_first.pop_front() {
                oldest.abort();
            }
            self.tasks.join_next().await;
        }
        self.oldest_first.push_back(self.tasks.spawn(connection));
    }
}

/// Answers the one request of a connection.
async fn converse(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // Whatever goes wrong concerns this client, who sees it.
    timeout(PATIENCE, connection).await.ok();
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::Instant,
    };

    use super::*;

    fn router() -> Router {
        Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/long", get(|| async { "x".repeat(1 << 20) }))
    }

    /// A client's end of a connection that is being served.
    fn connection(tasks: &mut JoinSet<()>, room: usize) -> DuplexStream {
        let (client, server) = duplex(room);
        tasks.spawn(converse(server, router()));
        client
    }

    async fn reply_to(request: &str) -> String {
        let mut tasks = JoinSet::new();
        let mut client = connection(&mut tasks, 1 << 20);
        client.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).await.unwrap();
        reply
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_carries_one_request_and_what_is_too_large_is_refused() {
        let long = "a".repeat(MAX_HEAD);
        let cases = [
            ("a request", "GET /livez HTTP/1.1\r\n\r\n".to_owned(), "200"),
            ("a second one waits in vain", "GET /livez HTTP/1.1\r\n\r\n".repeat(2), "200"),
            ("a long header", format!("GET /livez HTTP/1.1\r\nx: {long}\r\n\r\n"), "431"),
            ("many headers", format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200)), "431"),
            (
                "a body that never comes is not waited for",
                "GET /livez HTTP/1.1\r\ncontent-length: 9999999\r\n\r\n".to_owned(),
                "200",
            ),
        ];

        for (why, request, status) in cases {
            let start = Instant::now();
            let reply = reply_to(&request).await;
            assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{why}: {reply}");
            assert_eq!(reply.matches("HTTP/1.1").count(), 1, "{why}: {reply}");
            assert_eq!(start.elapsed(), Duration::ZERO, "{why}: it ends at once");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_whatever_the_client_does_not_do() {
        let cases = [
            ("it says nothing", "", HEAD_PATIENCE),
            ("it sends half a request", "GET /livez HTTP/1.1\r\nhost: a", HEAD_PATIENCE),
            ("it does not read", "GET /long HTTP/1.1\r\n\r\n", PATIENCE),
        ];

        for (why, request, limit) in cases {
            let mut tasks = JoinSet::new();
            let mut client = connection(&mut tasks, 64);
            client.write_all(request.as_bytes()).await.unwrap();
            let ended = timeout(limit + BREATHER, tasks.join_next()).await;
            assert!(ended.is_ok(), "{why}");
        }
    }

    #[tokio::test]
    async fn the_oldest_of_too_many_ends_for_a_new_one() {
        let mut open = Open::new(MAX_CONNECTIONS);
        let forever = std::future::pending::<()>;
        for _ in 0..MAX_CONNECTIONS {
            open.add(forever()).await;
        }
        let (first, second) = (open.oldest_first[0].clone(), open.oldest_first[1].clone());
        open.add(forever()).await;

        assert!(first.is_finished());
        assert!(!second.is_finished());
        assert_eq!(open.tasks.len(), MAX_CONNECTIONS);
    }
}

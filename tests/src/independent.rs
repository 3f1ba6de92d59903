//! DNS-over-TLS servers that others wrote: CoreDNS and unbound.
//!
//! Two programs of ours could agree on a mistake; these do not know us. Both serve the zone of [`ZONE`].

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use crate::{PATIENCE, certificates::Identity, proxy::folder};

/// The records, as both servers have them: owner below `example.`, type, data.
pub const ZONE: &[(&str, &str, &str)] = &[
    ("www", "A", "192.0.2.80"),
    ("www", "AAAA", "2001:db8::80"),
    ("alias", "CNAME", "www.example."),
    ("mail", "MX", "10 www.example."),
    ("_dns._tcp", "SRV", "1 2 853 www.example."),
    ("text", "TXT", "\"what was asked\""),
    ("caa", "CAA", "0 issue \"ca.example\""),
];

/// How many texts of 200 octets `big.example.` has: too much for a datagram.
pub const BIG: usize = 20;

/// Who wrote the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Program {
    /// CoreDNS, built from its modules by tests/cluster.
    CoreDns,
    /// unbound, from the distribution.
    Unbound,
}

/// A running server. It ends when it is dropped.
pub struct Server {
    /// Where it is reached.
    pub address: SocketAddr,
    _child: Child,
    _folder: Arc<TempDir>,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::CoreDns, Self::Unbound];

    /// Where the program is, if it is installed.
    ///
    /// # Panics
    /// In continuous integration, when it is not: there nothing is left out in silence.
    pub fn installed(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/.build/bin");
        let folders = [built, "/usr/sbin".into(), "/usr/local/sbin".into()];
        let all = folders.into_iter().chain(std::env::split_paths(&path));
        let found = all.map(|folder| folder.join(self.file_name())).find(|path| path.is_file());
        if found.is_none() {
            eprintln!("NOT RUN: {self:?} is not here; `make check` installs or builds it");
            assert!(std::env::var_os("CI").is_none(), "{self:?} is missing");
        }
        found
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::CoreDns => "coredns",
            Self::Unbound => "unbound",
        }
    }

    /// Starts a server with this certificate at any port; none when the program is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(self, identity: &Identity) -> Option<Server> {
        let path = self.installed()?;
        for _ in 0..10 {
            // Another process may take the port in between: then the next one is tried.
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("a bound socket");
            drop(listener);
            if let Some(server) = self.start_at(&path, address, identity).await {
                return Some(server);
            }
        }
        panic!("{self:?} does not start");
    }

    /// Starts a server at an address that one had before.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(self, address: SocketAddr, identity: &Identity) -> Server {
        let path = self.installed().expect("a program that was there before");
        self.start_at(&path, address, identity).await.expect("a server at its old address")
    }

    async fn start_at(
        self,
        path: &Path,
        address: SocketAddr,
        identity: &Identity,
    ) -> Option<Server> {
        let folder = folder();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("a file written")
        };
        write("server.pem", &identity.chain_pem);
        write("server.key", &identity.key_pem);
        write("zone", &zone_file());
        write("config", &self.config(address));
        let mut command = Command::new(path);
        command
            .args(self.arguments())
            .current_dir(folder.path())
            .kill_on_drop(true)
            .stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program runs");
        let end = tokio::time::Instant::now() + PATIENCE;
        while TcpStream::connect(address).await.is_err() {
            if tokio::time::Instant::now() > end || child.try_wait().expect("a status").is_some() {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Somebody else's server may be there, and ours gone for that reason.
        child.try_wait().expect("a status").is_none().then_some(Server {
            address,
            _child: child,
            _folder: folder,
        })
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::CoreDns => &["-conf", "config"],
            Self::Unbound => &["-d", "-c", "config"],
        }
    }

    fn config(self, address: SocketAddr) -> String {
        let (ip, port) = (address.ip(), address.port());
        match self {
            Self::CoreDns => {
                format!(
                    "tls://.:{port} {{\n bind {ip}\n tls server.pem server.key\n file zone example.\n errors\n}}\n"
                )
            }
            Self::Unbound => {
                let server = format!(
                    "server:\n interface: {ip}@{port}\n tls-port: {port}\n tls-service-key: server.key\n \
                     tls-service-pem: server.pem\n directory: .\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n \
                     do-daemonize: no\n use-syslog: no\n local-zone: example. static\n"
                );
                records().fold(server, |text, record| text + &format!(" local-data: '{record}'\n"))
            }
        }
    }
}

fn records() -> impl Iterator<Item = String> {
    let soa = "example. 60 IN SOA ns.example. hostmaster.example. 1 7200 3600 86400 60".to_owned();
    let ns = "example. 60 IN NS ns.example.".to_owned();
    let zone =
        ZONE.iter().map(|(owner, rtype, rdata)| format!("{owner}.example. 60 IN {rtype} {rdata}"));
    let big = (0..BIG).map(|number| format!("big.example. 60 IN TXT \"{number:0>200}\""));
    [soa, ns].into_iter().chain(zone).chain(big)
}

fn zone_file() -> String {
    records().fold(String::new(), |mut text, record| {
        writeln!(text, "{record}").expect("a string grows");
        text
    })
}

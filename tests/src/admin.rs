//! The admin endpoints, read with a few lines of HTTP/1.1 of our own.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::PATIENCE;

/// The admin endpoints of one proxy.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    /// Where they are.
    pub address: SocketAddr,
}

/// What an endpoint said.
#[derive(Clone, Debug)]
pub struct Page {
    /// The status of HTTP.
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

/// The samples of `/metrics`, by name and labels as they are written there.
pub type Samples = BTreeMap<String, f64>;

impl Admin {
    /// Gets a page.
    ///
    /// # Panics
    /// When nothing that is HTTP comes back.
    pub async fn get(&self, path: &str) -> Page {
        self.request(&format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        ))
        .await
        .expect("a page")
    }

    /// Sends a request as it is and reads until the end of the connection.
    ///
    /// # Errors
    /// When nothing that is HTTP comes back.
    pub async fn request(&self, request: &str) -> Result<Page> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.context("no page")??;
        let text = String::from_utf8(bytes)?;
        let (head, body) = text.split_once("\r\n\r\n").context("no head")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Page { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
    }

    /// Gets a JSON document.
    ///
    /// # Panics
    /// When it is none.
    pub async fn json(&self, path: &str) -> Value {
        let page = self.get(path).await;
        serde_json::from_str(&page.body)
            .unwrap_or_else(|error| panic!("{path}: {error}: {}", page.body))
    }

    /// Gets all samples.
    ///
    /// # Panics
    /// When a line is none.
    pub async fn metrics(&self) -> Samples {
        let page = self.get("/metrics").await;
        let lines = page.body.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect()
    }

    /// The sum of the samples of a family whose labels contain all of `labels`.
    pub async fn sum(&self, family: &str, labels: &[&str]) -> f64 {
        sum(&self.metrics().await, family, labels)
    }
}

/// The sum of the samples of a family whose labels contain all of `labels`, such as `rcode="REFUSED"`.
pub fn sum(samples: &Samples, family: &str, labels: &[&str]) -> f64 {
    let of_family = samples.iter().filter(|(key, _)| key.split('{').next() == Some(family));
    of_family
        .filter(|(key, _)| labels.iter().all(|label| key.contains(label)))
        .map(|(_, value)| value)
        .sum()
}

fn sample(line: &str) -> Option<(String, f64)> {
    let (key, value) = line.rsplit_once(' ')?;
    Some((key.to_owned(), value.parse().ok()?))
}

//! The usual scene: one authority, one upstream, one proxy in front of it.

use serde_json::{Value, json};

use crate::{
    certificates::Authority,
    client::Client,
    manifest::{merged, upstreams},
    proxy::{Launch, Proxy},
    upstream::{Action, Received, Setup, Upstream},
};

/// One proxy with one DNS-over-TLS upstream called `scripted`.
pub struct Stage {
    /// Who signed the upstream's certificate.
    pub authority: Authority,
    /// The upstream.
    pub upstream: Upstream,
    /// The proxy.
    pub proxy: Proxy,
    /// The proxy's spec.
    pub spec: Value,
}

impl Stage {
    /// With an upstream that answers faithfully.
    pub async fn new() -> Self {
        Self::with(|setup| setup, json!({})).await
    }

    /// With a script.
    pub async fn script(script: impl FnMut(&Received) -> Vec<Action> + Send + 'static) -> Self {
        Self::with(|setup| setup.script(script), json!({})).await
    }

    /// With a script, and with the usual cache.
    pub async fn cached(script: impl FnMut(&Received) -> Vec<Action> + Send + 'static) -> Self {
        Self::with(|setup| setup.script(script), json!({"cache": {}})).await
    }

    /// With more in the spec.
    pub async fn spec(over: Value) -> Self {
        Self::with(|setup| setup, over).await
    }

    /// With an upstream made differently, and more in the spec.
    pub async fn with(make: impl FnOnce(Setup) -> Setup, over: Value) -> Self {
        let authority = Authority::default();
        let upstream = make(Upstream::tls(&authority.server())).start().await;
        let spec = merged(upstreams([upstream.entry("scripted", &authority)]), over);
        let proxy = Launch::new(&spec).start().await;
        Self { authority, upstream, proxy, spec }
    }

    /// A client of the proxy.
    pub fn client(&self) -> Client {
        self.proxy.client()
    }

    /// The questions that reached the upstream, as names.
    pub fn asked(&self) -> Vec<String> {
        self.upstream.seen().queries.iter().map(Received::name).collect()
    }
}

//! An upstream inside of the cluster: CoreDNS, which answers `example.org` over TLS.

use serde_json::{Value, json};

use super::Namespace;
use crate::certificates::{Authority, Identity, NAME};

/// A DNS-over-TLS server behind a Service.
pub struct Resolver {
    /// Who signed its certificate.
    pub authority: Authority,
    /// Its certificate.
    pub identity: Identity,
    /// Where pods reach it, `IP:port`.
    pub address: String,
}

impl Resolver {
    /// Starts one, with its certificate's authority as the ConfigMap `resolver-ca`.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn new(namespace: &Namespace) -> Self {
        let this = Self::without_config_map(namespace);
        this.publish_authority(namespace);
        this
    }

    /// Starts one; nobody knows its authority yet.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn without_config_map(namespace: &Namespace) -> Self {
        let authority = Authority::default();
        let identity = authority.server();
        namespace.apply(&json!([
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "resolver"}, "type": "kubernetes.io/tls",
             "stringData": {"tls.crt": identity.chain_pem, "tls.key": identity.key_pem}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "resolver"}, "data": {"Corefile": COREFILE}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "resolver"},
             "spec": {"selector": {"app": "resolver"}, "ports": [{"port": 853, "targetPort": 8853}]}},
            deployment(),
        ]));
        namespace
            .kubectl(&["rollout", "status", "deployment/resolver", "--timeout=300s"])
            .expect_done();
        let service = namespace.get("service", "resolver");
        let ip = service["spec"]["clusterIP"].as_str().expect("an address of the Service");
        Self { authority, identity, address: format!("{ip}:853") }
    }

    /// Puts the authority into the ConfigMap `resolver-ca`.
    pub fn publish_authority(&self, namespace: &Namespace) {
        namespace.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "resolver-ca"},
            "data": {"ca.crt": self.authority.pem()},
        }));
    }

    /// The upstream as it stands in a DnsProxy.
    pub fn entry(&self) -> Value {
        json!({
            "name": "resolver",
            "addresses": [self.address],
            "tls": {"serverName": NAME, "ca": {"configMap": {"name": "resolver-ca", "key": "ca.crt"}}},
        })
    }
}

const COREFILE: &str = r#"
tls://.:8853 {
    tls /tls/tls.crt /tls/tls.key
    template IN A example.org {
        answer "{{ .Name }} 60 IN A 192.0.2.77"
    }
    template IN TXT example.org {
        answer "{{ .Name }} 60 IN TXT \"over TLS\""
    }
    log
    errors
}
"#;

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "resolver"},
        "spec": {
            "selector": {"matchLabels": {"app": "resolver"}},
            "template": {"metadata": {"labels": {"app": "resolver"}}, "spec": {
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "coredns",
                    "image": "localhost/coredns:dev",
                    "args": ["-conf", "/config/Corefile"],
                    "ports": [{"containerPort": 8853}],
                    "readinessProbe": {"tcpSocket": {"port": 8853}, "periodSeconds": 1},
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "config", "mountPath": "/config"}, {"name": "tls", "mountPath": "/tls"}],
                }],
                "volumes": [
                    {"name": "config", "configMap": {"name": "resolver"}},
                    {"name": "tls", "secret": {"secretName": "resolver"}},
                ],
            }},
        },
    })
}

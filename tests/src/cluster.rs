//! A real cluster, spoken to by kubectl and helm as users do.
//!
//! `make e2e` sets KUBECONFIG and PATH, and runs one test at a time. Each test has a namespace of its own, which
//! enforces PodSecurity `restricted`.

mod upstream;

use std::{
    process::{Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

pub use upstream::Resolver;

use crate::readme::root;

/// How long a test waits for what a cluster does.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// One namespace of the cluster, with the operator at work.
pub struct Namespace {
    /// Its name.
    pub name: String,
}

/// What a program said.
pub struct Said {
    /// Whether it did what it was asked to.
    pub is_done: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Namespace {
    /// A new namespace, in a cluster with the operator.
    ///
    /// # Panics
    /// When there is no cluster.
    pub fn new(name: &str) -> Self {
        install_operator();
        let this = Self { name: format!("e2e-{name}") };
        kubectl(&["delete", "namespace", &this.name, "--ignore-not-found", "--wait=true"])
            .expect_done();
        apply_anywhere(&json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": this.name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }));
        this
    }

    /// Runs kubectl in this namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> Said {
        kubectl(&[&["-n", &self.name], arguments].concat())
    }

    /// Applies objects, with warnings as errors.
    ///
    /// # Panics
    /// When the API server does not take them without a word.
    pub fn apply(&self, objects: &Value) {
        let said = self.try_apply(objects);
        assert!(said.is_done && !said.err.contains("Warning"), "{}{}", said.out, said.err);
    }

    /// Applies objects.
    pub fn try_apply(&self, objects: &Value) -> Said {
        run_with("kubectl", &["-n", &self.name, "apply", "-f", "-"], &as_list(objects).to_string())
    }

    /// Applies a DnsProxy with this spec.
    ///
    /// # Panics
    /// When the API server does not take it.
    pub fn apply_proxy(&self, name: &str, spec: &Value) {
        self.apply(&dns_proxy(name, spec));
    }

    /// Waits for a condition of a DnsProxy, such as `Ready`, `Accepted=False`.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait(&self, proxy: &str, condition: &str) {
        let object = format!("dnsproxy/{proxy}");
        let (condition, timeout) =
            (format!("--for=condition={condition}"), format!("--timeout={}s", PATIENCE.as_secs()));
        let said = self.kubectl(&["wait", &condition, &object, &timeout]);
        assert!(said.is_done, "{condition}: {}{}\n{}", said.out, said.err, self.story(proxy));
    }

    /// Gets an object.
    ///
    /// # Panics
    /// When there is none.
    pub fn get(&self, kind: &str, name: &str) -> Value {
        let said = self.kubectl(&["get", kind, name, "-o", "json"]).expect_done();
        serde_json::from_str(&said.out).expect("JSON")
    }

    /// Gets all objects of a kind.
    ///
    /// # Panics
    /// When kubectl does not know the kind.
    pub fn list(&self, kind: &str) -> Vec<Value> {
        let said = self.kubectl(&["get", kind, "-o", "json"]).expect_done();
        let list: Value = serde_json::from_str(&said.out).expect("JSON");
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// One condition of a DnsProxy: status, reason and message.
    pub fn condition(&self, proxy: &str, kind: &str) -> (String, String, String) {
        let object = self.get("dnsproxy", proxy);
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found =
            conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    /// The pods of a DnsProxy.
    pub fn pods(&self, proxy: &str) -> Vec<Value> {
        let selector = format!(
            "app.kubernetes.io/instance={proxy},app.kubernetes.io/managed-by=dnsproxy-operator"
        );
        let said = self.kubectl(&["get", "pods", "-l", &selector, "-o", "json"]).expect_done();
        let list: Value = serde_json::from_str(&said.out).expect("JSON");
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// A pod that asks nobody but a DnsProxy, the way that its status says.
    ///
    /// # Panics
    /// When the pod does not become ready.
    pub fn client(&self, proxy: &str) {
        let status = self.get("dnsproxy", proxy)["status"].clone();
        let mut config = status["dnsConfig"].clone();
        let searches = config["searches"].as_array_mut().expect("searches in the status");
        let domain = searches[0].as_str().expect("a domain").to_owned();
        searches.insert(0, json!(format!("{}.{domain}", self.name)));
        self.apply(&tools_pod("client", &json!({"dnsPolicy": "None", "dnsConfig": config})));
        self.kubectl(&["wait", "--for=condition=Ready", "pod/client", "--timeout=300s"])
            .expect_done();
    }

    /// Runs dig in the client's pod.
    pub fn dig(&self, arguments: &[&str]) -> String {
        let said = self.kubectl(
            &[&["exec", "client", "--", "dig", "+tries=1", "+time=5"], arguments].concat(),
        );
        said.out + &said.err
    }

    /// What is there and what happened, for a test that failed.
    pub fn story(&self, proxy: &str) -> String {
        let parts: [&[&str]; 4] = [
            &["get", "dnsproxy", proxy, "-o", "yaml"],
            &["get", "pods,services,configmaps", "-o", "wide"],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["logs", "-l", "app.kubernetes.io/managed-by=dnsproxy-operator", "--tail=30"],
        ];
        parts
            .iter()
            .map(|arguments| self.kubectl(arguments).out)
            .collect::<Vec<_>>()
            .join("\n---\n")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} is left as it is, to look at", self.name);
        } else {
            kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
        }
    }
}

impl Said {
    /// Goes on when it was done.
    ///
    /// # Panics
    /// When it was not.
    pub fn expect_done(self) -> Self {
        assert!(self.is_done, "{}{}", self.out, self.err);
        self
    }

    /// Everything that was said.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            is_done: output.status.success(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

/// A DnsProxy object.
pub fn dns_proxy(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "dnsproxy.io/v1alpha1", "kind": "DnsProxy",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// A pod with dig in it, as `restricted` wants pods.
pub fn tools_pod(name: &str, more: &Value) -> Value {
    let spec = json!({
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "tools",
            "image": "localhost/tools:dev",
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        }],
    });
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name},
        "spec": crate::manifest::merged(spec, more.clone()),
    })
}

/// Waits until `look` finds something.
///
/// # Panics
/// When it does not; `what` says what was awaited.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Runs kubectl.
pub fn kubectl(arguments: &[&str]) -> Said {
    run_with("kubectl", arguments, "")
}

/// Runs helm.
pub fn helm(arguments: &[&str]) -> Said {
    run_with("helm", arguments, "")
}

/// Runs a program with something to read.
///
/// # Panics
/// When there is no such program.
pub fn run_with(program: &str, arguments: &[&str], input: &str) -> Said {
    use std::io::Write;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; run `make e2e`"));
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    child.wait_with_output().expect("the program ends").into()
}

/// Where the operator is installed.
pub const OPERATOR_NAMESPACE: &str = "dnsproxy-system";

/// Installs the chart once per test program, as its README says.
fn install_operator() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let chart = root().join("charts/dnsproxy-operator");
        let chart = chart.to_str().expect("a path that is text");
        let images = [
            "--set=image.repository=localhost/dnsproxy-operator",
            "--set=image.tag=dev",
            "--set=proxy.image=localhost/dnsproxy:dev",
        ];
        let install = [
            "upgrade",
            "--install",
            "dnsproxy-operator",
            chart,
            "--create-namespace",
            "--wait",
            "--timeout=300s",
        ];
        let place = ["--namespace", OPERATOR_NAMESPACE];
        helm(&[&install[..], &place, &images].concat()).expect_done();
    });
}

fn apply_anywhere(objects: &Value) {
    run_with("kubectl", &["apply", "-f", "-"], &as_list(objects).to_string()).expect_done();
}

/// kubectl takes a list of objects as one object of the kind List.
fn as_list(objects: &Value) -> Value {
    match objects {
        Value::Array(items) => json!({"apiVersion": "v1", "kind": "List", "items": items}),
        one => one.clone(),
    }
}

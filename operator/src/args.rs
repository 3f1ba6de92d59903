//! Command line and environment. Every flag of `run` has a variable, too; the chart sets flags.

use std::{collections::BTreeSet, fmt, net::SocketAddr};

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

/// Turns DnsProxy objects into running DNS proxies.
#[derive(Debug, Parser)]
#[command(name = "dnsproxy-operator", version, arg_required_else_help = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch DnsProxy objects and keep their proxies running
    Run(RunArgs),
    /// Print the CustomResourceDefinitions as YAML
    Crd,
}

/// How the operator runs.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The proxy's image, for objects that do not name one
    #[arg(long, env = "DNSPROXY_IMAGE", default_value = DEFAULT_IMAGE)]
    pub image: String,

    /// Annotate pods whose configuration changed, so that the kubelet delivers it at once
    #[arg(long, env = "DNSPROXY_FAST_RELOAD")]
    pub fast_reload: bool,

    /// Where /livez, /readyz and /metrics are served
    #[arg(long, env = "DNSPROXY_OPERATOR_ADMIN", default_value = DEFAULT_ADMIN, value_name = "IP:PORT")]
    pub admin: SocketAddr,

    /// Watch this namespace only; may be given several times, or as a list with commas [default: all]
    #[arg(
        long = "namespace",
        env = "DNSPROXY_NAMESPACES",
        value_delimiter = ',',
        value_name = "NS"
    )]
    namespaces: Vec<String>,

    /// Reconcile only while holding a Lease, so that operators that watch the same namespaces take turns
    #[arg(
        long,
        env = "DNSPROXY_LEADER_ELECT",
        default_value_t = true,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub leader_elect: bool,

    /// Where the Lease of operators that watch all namespaces is; of others it is in each namespace that they watch
    #[arg(
        long,
        env = "DNSPROXY_LEADER_ELECTION_NAMESPACE",
        default_value = DEFAULT_LEADER_ELECTION_NAMESPACE,
        value_name = "NS"
    )]
    pub leader_election_namespace: String,

    /// How log lines look
    #[arg(long, env = "DNSPROXY_LOG_FORMAT", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged: a level, or `target=level` pairs
    #[arg(long, env = "DNSPROXY_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

impl RunArgs {
    /// The namespaces to watch, each once; none: all. What is empty is what a variable without a value gives, or a comma at the
    /// end, and names nothing.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<&str> {
        let trimmed = self.namespaces.iter().map(|namespace| namespace.trim());
        trimmed.filter(|namespace| !namespace.is_empty()).collect()
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// What `make images` calls the image that it builds; the chart always names one.
const DEFAULT_IMAGE: &str = "localhost/dnsproxy:dev";

/// All addresses, since the kubelet probes the pod's own; 8080 is the custom of controllers.
const DEFAULT_ADMIN: &str = "[::]:8080";

/// It is in every cluster, and only its administrators may write there; other controllers of whole clusters do the same.
const DEFAULT_LEADER_ELECTION_NAMESPACE: &str = "kube-system";

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> RunArgs {
        let args =
            Args::try_parse_from([&["dnsproxy-operator", "run"], arguments].concat()).unwrap();
        let Command::Run(run) = args.command else { panic!("not `run`") };
        run
    }

    #[test]
    fn namespaces_come_one_by_one_or_as_a_list() {
        let cases: [(&str, &[&str], &[&str]); 7] = [
            ("nothing is said", &[], &[]),
            ("one by one", &["--namespace", "a", "--namespace", "b"], &["a", "b"]),
            ("as a list", &["--namespace", "a,b"], &["a", "b"]),
            ("with spaces", &["--namespace", "a, b "], &["a", "b"]),
            ("twice", &["--namespace", "a,b,a"], &["a", "b"]),
            ("a comma at the end", &["--namespace", "a,"], &["a"]),
            ("a variable without a value", &["--namespace", ""], &[]),
        ];

        for (why, arguments, expected) in cases {
            assert_eq!(Vec::from_iter(run(arguments).namespaces()), expected, "{why}");
        }
    }

    #[test]
    fn leader_election_is_on_unless_it_is_switched_off() {
        assert!(run(&[]).leader_elect);
        assert!(run(&["--leader-elect"]).leader_elect, "as kubebuilder's manifests have it");
        assert!(!run(&["--leader-elect=false"]).leader_elect);
    }

    #[test]
    fn everything_has_a_default() {
        let run = run(&[]);

        assert!(!run.fast_reload);
        assert_eq!(run.image, DEFAULT_IMAGE);
        assert_eq!(run.log_format, LogFormat::Text);
    }
}

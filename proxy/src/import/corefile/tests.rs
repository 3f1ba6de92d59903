//! What becomes of a query by the manifest of a Corefile, and what is told about it.

use super::{super::Imported, import};
use crate::{
    config::{Names, judge_of},
    judge::{Fate, Judge},
    message::{Qclass, Qtype, Question},
};

/// A Corefile with one block for all names.
fn root(lines: &str) -> String {
    format!(". {{\n{lines}\nforward . 192.0.2.1\n}}\n")
}

/// The notes, but for those that nearly every Corefile has.
#[allow(dead_code)]
fn notes(imported: &Imported) -> Vec<String> {
    let notes = imported.notes.iter().map(|note| format!("{}: {note}", note.line));
    let is_usual = |note: &String| {
        note.contains("it stays plain") || note.contains("/etc/hosts is not read")
    };
    notes.filter(|note| !is_usual(note)).collect()
}

/// A manifest, and what it does.
struct Made {
    imported: Imported,
    judge: Judge,
}

fn made(corefile: &str) -> Made {
    let imported = import(corefile);
    let spec = &imported.proxy.spec;
    let names = Names::read(spec, None, &Names::default());
    let judge = judge_of(spec, &names).unwrap_or_else(|error| panic!("{corefile}: {error:?}"));
    assert!(imported.carried > 0, "{corefile}: {:?}", imported.notes);
    Made { imported, judge }
}

impl Made {
    /// Whom a query is for, or the answer: its response code, and the data of its records in order.
    fn fate(&self, name: &str, qtype: Qtype) -> String {
        let question = Question { name: name.parse().unwrap(), qtype, qclass: Qclass::IN };
        let judgement = self.judge.judge(&question, "127.0.0.1".parse().unwrap(), |_| {});
        match judgement.fate {
            Fate::Asked(route) => self.upstreams(route),
            Fate::NoRoute => "REFUSED".to_owned(),
            Fate::Made { rcode, response, .. } => {
                let [answers, ..] = &response.sections;
                let data = answers.iter().map(|it| format!("{} {}", it.ttl, data(&it.data)));
                let data = data.collect::<Vec<_>>().join(", ");
                if data.is_empty() { rcode.to_string() } else { data }
            }
            other @ (Fate::Failed(_) | Fate::Dropped | Fate::Any) => format!("{other:?}"),
        }
    }

    /// The last octet of each address that is asked.
    fn upstreams(&self, route: usize) -> String {
        let spec = &self.imported.proxy.spec;
        let route = &spec.routes.as_ref().unwrap()[route];
        let of = |name: &String| spec.upstreams.iter().find(|it| it.name == *name).unwrap();
        let addresses = route.upstreams.iter().flat_map(|name| of(name).addresses.clone());
        let ends = addresses.map(|address| format!("up{}", address.rsplit('.').next().unwrap()));
        ends.collect::<Vec<_>>().join(" ")
    }

    fn a(&self, name: &str) -> String {
        self.fate(name, Qtype::A)
    }
}

fn data(data: &crate::message::response::Data) -> String {
    match (&*data.head, &*data.names) {
        ([a, b, c, d], []) => format!("{a}.{b}.{c}.{d}"),
        (head, []) if head.len() == 16 => {
            std::net::Ipv6Addr::from(<[u8; 16]>::try_from(head).unwrap()).to_string()
        }
        (_, [name, ..]) => name.to_string(),
        (head, []) => format!("{head:?}"),
    }
}

#[test]
fn a_type_called_any_is_not_every_type() {
    let any = made(&root("acl {\n block type ANY\n}"));
    assert_eq!(any.a("a.example."), "up1");
    assert_eq!(any.fate("a.example.", Qtype::ANY), "REFUSED");

    let star = made(&root("acl {\n block type MX *\n}"));
    assert_eq!(star.a("a.example."), "REFUSED");
}

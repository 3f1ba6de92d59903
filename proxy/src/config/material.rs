//! What a reload does to the files of TLS settings that were in use.
//!
//! A file that is written in two steps, or holds the wrong thing, is no reason to give up an identity that works: the old one
//! is as strong. One that is gone is: whoever takes an authority or a certificate away means it.

use std::sync::Arc;

use super::Config;
use crate::upstream::{MaterialError, TlsSettings, Transport, UpstreamSettings};

impl Config {
    /// The upstream of the next configuration whose TLS settings are useless, where they are not in this one; and why.
    pub fn spoiled_by<'n>(&self, next: &'n Self) -> Option<(&'n Arc<str>, MaterialError)> {
        next.upstreams.iter().find_map(|upstream| {
            let known = self.upstreams.iter().find(|known| known.name == upstream.name)?;
            let (old, new) = (tls(known)?, tls(upstream)?);
            match new.check() {
                Err(MaterialError::Missing(_)) | Ok(()) => None,
                Err(error) => {
                    (old != new && old.check().is_ok()).then_some((&upstream.name, error))
                }
            }
        })
    }
}

fn tls(upstream: &UpstreamSettings) -> Option<&TlsSettings> {
    match &upstream.transport {
        Transport::Tls(tls) => Some(tls),
        Transport::Tcp | Transport::Udp => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use super::*;
    use crate::{
        config::{Names, Purpose},
        upstream::Roots,
    };

    /// With one upstream of this name, which is to be believed because of these authorities.
    fn config(name: &str, roots: Roots) -> Config {
        let text = format!(
            "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\nmetadata: {{name: a}}\nspec: {{upstreams: [\
             {{name: {name}, addresses: [192.0.2.1], tls: {{serverName: a.example}}}}]}}"
        );
        let (files, known) = (BTreeMap::new(), Names::default());
        let mut config =
            Config::from_text(Purpose::Run, &text, Path::new(""), files, &known).unwrap();
        let Transport::Tls(tls) = &mut config.upstreams[0].transport else { panic!("{text}") };
        tls.roots = roots;
        config
    }

    #[test]
    fn what_works_is_not_given_up_for_what_does_not() {
        let good = || Roots::Mozilla;
        let useless = || Roots::Pem(b"no PEM".as_slice().into());
        let cases = [
            // (now, next, whether next is refused, why)
            (config("a", good()), config("a", useless()), true, "what works is kept"),
            (
                config("a", good()),
                config("a", Roots::Missing("gone".into())),
                false,
                "who takes it away means it",
            ),
            (config("a", good()), config("b", useless()), false, "it is another upstream's"),
            (config("a", useless()), config("a", useless()), false, "nothing is lost"),
            (config("a", useless()), config("a", good()), false, "it is mended"),
        ];
        for (now, next, is_refused, why) in cases {
            assert_eq!(now.spoiled_by(&next).is_some(), is_refused, "{why}");
        }
    }
}

//! The names that an option with domains is for.

use std::fmt;

use dnsproxy_api::{
    units::Zone,
    v1alpha1::{Match, NameMatch},
};

use super::draft;

/// Which names an option is for.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Pattern {
    /// `/x/`: the name and all below it.
    Zone(String),
    /// `/*.x/`: all below it.
    Below(String),
    /// `/*x/`: every name that ends so.
    Ending(String),
    /// `//`: names without a dot.
    Plain,
    /// `/#/`: every name.
    Any,
}

/// The patterns between slashes, and what follows them.
pub(super) fn patterns(value: &str) -> Result<(Vec<Pattern>, &str), String> {
    let Some(inner) = value.strip_prefix('/') else { return Ok((Vec::new(), value)) };
    let (domains, rest) = inner.rsplit_once('/').ok_or("a `/` is missing behind the domains")?;
    let patterns = domains.split('/').map(pattern).collect::<Result<_, _>>()?;
    Ok((patterns, rest.trim()))
}

fn pattern(text: &str) -> Result<Pattern, String> {
    let text = text.trim().trim_end_matches('.').to_ascii_lowercase();
    let named = |text: &str| match text.parse::<Zone>() {
        Ok(zone) => Ok(zone.to_string()),
        Err(error) => Err(format!("`{text}`: {error}")),
    };
    match &*text {
        "" => Ok(Pattern::Plain),
        "#" => Ok(Pattern::Any),
        text => match (text.strip_prefix("*."), text.strip_prefix('*'), text.strip_prefix('.')) {
            (Some(below), ..) => named(below).map(Pattern::Below),
            (None, Some(ending), _) => {
                let part: Result<dnsproxy_api::units::NamePart, _> = ending.parse();
                part.map(|part| Pattern::Ending(part.to_string()))
                    .map_err(|error| format!("`{text}`: {error}"))
            }
            (None, None, Some(zone)) => named(zone).map(Pattern::Zone),
            (None, None, None) => named(text).map(Pattern::Zone),
        },
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zone(zone) => write!(f, "/{zone}/"),
            Self::Below(zone) => write!(f, "/*.{zone}/"),
            Self::Ending(ending) => write!(f, "/*{ending}/"),
            Self::Plain => f.write_str("//"),
            Self::Any => f.write_str("/#/"),
        }
    }
}

impl Pattern {
    pub(super) fn matches(&self) -> Match {
        let one = |text: &String| Some(vec![text.clone()]);
        let names = match self {
            Self::Zone(zone) => NameMatch { zone: one(zone), ..NameMatch::default() },
            Self::Below(zone) => NameMatch { subdomain: one(zone), ..NameMatch::default() },
            Self::Ending(ending) => NameMatch { suffix: one(ending), ..NameMatch::default() },
            Self::Plain => NameMatch { max_labels: Some(1), ..NameMatch::default() },
            Self::Any => NameMatch { zone: Some(vec![".".into()]), ..NameMatch::default() },
        };
        draft::names(names)
    }

    /// The domain, where it is one.
    pub(super) fn domain(&self) -> Option<&str> {
        match self {
            Self::Zone(domain) | Self::Below(domain) => Some(domain),
            Self::Ending(_) | Self::Plain | Self::Any => None,
        }
    }

    /// Whether a name is one of these.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Zone(zone) => upwards(name).any(|above| above == zone),
            Self::Below(zone) => upwards(name).skip(1).any(|above| above == zone),
            Self::Ending(ending) => name.ends_with(&**ending),
            Self::Plain => !name.contains('.'),
            Self::Any => true,
        }
    }

    /// What is longest comes first; of two of one length the whole domain.
    pub(super) fn order(&self) -> (std::cmp::Reverse<usize>, u8) {
        let (length, kind) = match self {
            Self::Zone(text) => (text.len(), 0),
            Self::Below(text) => (text.len() + 1, 1),
            Self::Ending(text) => (text.len(), 2),
            Self::Plain => (0, 0),
            Self::Any => (0, 1),
        };
        (std::cmp::Reverse(length), kind)
    }

    /// Whether some name matches both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let zone = |text: &str| text.parse::<Zone>().unwrap_or_else(|_| Zone::root());
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Zone(a) | Self::Below(a), Self::Zone(b) | Self::Below(b)) => {
                zone(a).is_within(&zone(b)) || zone(b).is_within(&zone(a))
            }
            (Self::Plain, Self::Plain) => true,
            (Self::Zone(a), Self::Plain) | (Self::Plain, Self::Zone(a)) => !a.contains('.'),
            (Self::Below(_), Self::Plain) | (Self::Plain, Self::Below(_)) => false,
            (Self::Ending(a), Self::Zone(b) | Self::Below(b) | Self::Ending(b))
            | (Self::Zone(b) | Self::Below(b), Self::Ending(a)) => a.ends_with(b) || b.ends_with(a),
            (Self::Ending(_), Self::Plain) | (Self::Plain, Self::Ending(_)) => true,
        }
    }

    /// Whether it is for names that lead from addresses back to names.
    pub(super) fn is_of_addresses(&self) -> bool {
        match self {
            Self::Zone(zone) | Self::Below(zone) => upwards(zone).any(|it| it == "arpa"),
            Self::Ending(ending) => "arpa".ends_with(&**ending) || ending.ends_with("arpa"),
            Self::Any => true,
            Self::Plain => false,
        }
    }

    pub(super) fn hint(&self) -> &str {
        match self {
            Self::Zone(text) | Self::Below(text) | Self::Ending(text) => text,
            Self::Plain => "plain",
            Self::Any => "any",
        }
    }
}

/// A domain, and those that it is in.
pub(super) fn upwards(zone: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(zone), |zone| zone.split_once('.').map(|(_, rest)| rest))
}

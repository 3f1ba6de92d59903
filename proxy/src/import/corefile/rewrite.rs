//! CoreDNS's `rewrite`: rules in the order of their lines, each with what becomes of the answer.

use dnsproxy_api::v1alpha1::{
    Answers, Class, Match, NameChange, NameMatch, RcodeChange, ResponseChange, ResponseCode,
    Rewrite, Then, TtlRange, rule::Rule,
};

use super::{super::draft, syntax::Directive, zones};

/// The rule of one directive. `stop`, the default, ends CoreDNS's way through all its rules.
pub(super) fn read(directive: &Directive) -> Result<Rule, String> {
    let words: Vec<&str> = directive.arguments().collect();
    let (then, words) = match words.split_first() {
        Some((word, rest)) if word.eq_ignore_ascii_case("continue") => (Some(Then::Continue), rest),
        Some((word, rest)) if word.eq_ignore_ascii_case("stop") => (None, rest),
        _ => (None, &*words),
    };
    let (kind, rest) = words.split_first().ok_or("not a rewrite that is known")?;
    let kind = kind.to_ascii_lowercase();
    let words: Vec<&str> = std::iter::once(&*kind).chain(rest.iter().copied()).collect();
    let rule = match &*words {
        ["name", rest @ ..] => name(rest)?,
        ["type", from, to] => {
            let rewrite = Rewrite { qtype: Some((*to).to_ascii_uppercase()), ..Rewrite::default() };
            let matches =
                Match { types: Some(vec![from.to_ascii_uppercase()]), ..Match::default() };
            Rule { matches, rewrite: Some(rewrite), ..Rule::default() }
        }
        ["class", from, to] => {
            let rewrite = Rewrite { class: Some(class(to)?), ..Rewrite::default() };
            let matches = Match { classes: Some(vec![class(from)?]), ..Match::default() };
            Rule { matches, rewrite: Some(rewrite), ..Rule::default() }
        }
        ["ttl", rest @ ..] => {
            let (kind, from, rest) = pattern(rest)?;
            let [range] = rest else { return Err("a name and a TTL".into()) };
            let response = ResponseChange { ttl: Some(ttl(range)?), ..ResponseChange::default() };
            Rule { matches: kind.matches(from), response: Some(response), ..Rule::default() }
        }
        ["rcode", rest @ ..] => {
            let (kind, name, rest) = pattern(rest)?;
            let [from, to] = rest else { return Err("a name and two response codes".into()) };
            let change = RcodeChange { from: rcode(from)?, to: rcode(to)? };
            let response =
                ResponseChange { rcodes: Some(vec![change]), ..ResponseChange::default() };
            Rule { matches: kind.matches(name), response: Some(response), ..Rule::default() }
        }
        ["cname", rest @ ..] => {
            let (kind, from, rest) = pattern(rest)?;
            let [to] = rest else { return Err("a target and its replacement".into()) };
            if kind == Kind::Suffix && !from.ends_with('.') {
                return Err(
                    "left out: without a dot at its end it is the end of no target there".into()
                );
            }
            let change = Some(kind.change(from, to));
            let response = ResponseChange { cname_target: change, ..ResponseChange::default() };
            Rule { matches: draft::zone("."), response: Some(response), ..Rule::default() }
        }
        ["edns0", ..] => {
            return Err("no EDNS option of a client leaves this proxy, and none is added".into());
        }
        _ => return Err("not a rewrite that is known".into()),
    };
    Ok(Rule { then, ..rule })
}

/// Whether a name of the answer may be changed more than once there: here one change is made.
pub(super) fn has_chain(rule: &Rule) -> bool {
    let Some(rewrite) = &rule.rewrite else { return false };
    let count = |changes: &Option<Vec<NameChange>>| changes.as_ref().map_or(0, Vec::len);
    let most = count(&rewrite.answer_names).max(count(&rewrite.answer_values));
    most + usize::from(rewrite.answers != Answers::Keep) > 1
}

/// Where the names are that a rule makes of others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Landing {
    /// Mostly where they were.
    Near,
    In(String),
    Anywhere,
}

impl Landing {
    /// Of a rule that changes names.
    pub(super) fn of(rule: &Rule) -> Option<Self> {
        let to = rule.rewrite.as_ref()?.name.as_ref()?;
        let names = rule.matches.names.as_ref()?;
        if names.prefix.is_some() || names.substring.is_some() {
            return Some(Self::Near);
        }
        let end = to.rsplit_once('}').map_or(&**to, |(_, end)| end);
        // The first label may have begun before.
        let is_whole = names.exact.is_some() || names.suffix.is_some() || !to.contains('}');
        let zone = if is_whole { Some(end) } else { end.split_once('.').map(|(_, zone)| zone) };
        let zone = zones::without_dot(zone.unwrap_or(".").trim_start_matches('.'));
        Some(if zone == "." && names.exact.is_none() { Self::Anywhere } else { Self::In(zone) })
    }
}

/// Whether a rule is for names of some zones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// For them alone.
    Inside,
    /// For none of them.
    Outside,
    /// For others as well.
    Beyond,
}

/// Tells it of a rule; one that is for every name is made one for those of the zones.
pub(super) fn reach(rule: &mut Rule, zones: &[String]) -> Reach {
    let is_all = |names: &NameMatch| names.zone.as_ref().is_some_and(|zone| *zone == ["."]);
    if zones.iter().any(|zone| zone == ".") {
        return Reach::Inside;
    }
    if rule.matches.names.as_ref().is_none_or(is_all) {
        rule.matches.names = Some(NameMatch { zone: Some(zones.to_vec()), ..NameMatch::default() });
        return Reach::Inside;
    }
    let one = |list: &Option<Vec<String>>| list.as_ref()?.first().cloned();
    let Some(names) = &rule.matches.names else { return Reach::Beyond };
    match (one(&names.exact), one(&names.suffix)) {
        (Some(name), _) if zones::hold(zones, &zones::without_dot(&name)) => Reach::Inside,
        (Some(_), _) => Reach::Outside,
        (None, Some(suffix)) => reach_of_suffix(&zones::without_dot(&suffix), zones),
        (None, None) => Reach::Beyond,
    }
}

fn reach_of_suffix(suffix: &str, zones: &[String]) -> Reach {
    let zone = suffix.strip_prefix('.');
    let is_below = |outer: &String| {
        zone.is_some_and(|zone| zones::is_within(zone, outer))
            || suffix != outer && zones::is_within(suffix, outer)
    };
    if zones.iter().any(is_below) {
        return Reach::Inside;
    }
    // By characters: `st` is an end of `a.test`.
    let is_end = |zone: &String| zone.ends_with(suffix) || zone == suffix;
    if zones.iter().any(is_end) { Reach::Beyond } else { Reach::Outside }
}

/// How a name is compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Substring,
    Regex,
}

/// The kind of a pattern, the pattern, and what follows.
fn pattern<'a, 'w>(words: &'a [&'w str]) -> Result<(Kind, &'w str, &'a [&'w str]), String> {
    let named = words.split_first().filter(|(_, rest)| rest.len() > 1);
    let named = named.and_then(|(word, rest)| Some((Kind::of(word)?, rest)));
    let (kind, words) = named.unwrap_or((Kind::Exact, words));
    let (from, rest) = words.split_first().ok_or("a name is missing")?;
    Ok((kind, from, rest))
}

impl Kind {
    fn of(word: &str) -> Option<Self> {
        match &*word.to_ascii_lowercase() {
            "exact" => Some(Self::Exact),
            "prefix" => Some(Self::Prefix),
            "suffix" => Some(Self::Suffix),
            "substring" => Some(Self::Substring),
            "regex" => Some(Self::Regex),
            _ => None,
        }
    }

    /// A pattern, or what takes its place, as CoreDNS has it: all but regular expressions end in a dot.
    fn normal(self, text: &str) -> String {
        match self {
            Self::Prefix | Self::Substring => absolute(text),
            Self::Exact | Self::Suffix | Self::Regex => text.to_owned(),
        }
    }

    fn matches(self, from: &str) -> Match {
        let one = Some(vec![self.normal(from)]);
        let names = match self {
            Self::Exact => NameMatch { exact: one, ..NameMatch::default() },
            Self::Prefix => NameMatch { prefix: one, ..NameMatch::default() },
            Self::Suffix => NameMatch { suffix: one, ..NameMatch::default() },
            Self::Substring => NameMatch { substring: one, ..NameMatch::default() },
            Self::Regex => NameMatch { regex: one, ..NameMatch::default() },
        };
        draft::names(names)
    }

    /// The same comparison as a regular expression, for names in answers.
    fn change(self, from: &str, to: &str) -> NameChange {
        let (plain, absolute) = (literal(from), literal(&absolute(from)));
        let (regex, to) = match self {
            Self::Exact => (format!("^{absolute}$"), to.to_owned()),
            Self::Prefix => (format!("^{plain}(.*)$"), format!("{to}{{1}}")),
            Self::Suffix => (format!("^(.*){absolute}$"), format!("{{1}}{to}")),
            // Where it stands first.
            Self::Substring => (format!("^(.*?){plain}(.*)$"), format!("{{1}}{to}{{2}}")),
            Self::Regex => (from.to_owned(), to.to_owned()),
        };
        NameChange { regex, to }
    }
}

fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

fn literal(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    text.chars()
        .flat_map(|c| {
            (!c.is_ascii_alphanumeric() && c != '-' && c != '_')
                .then_some('\\')
                .into_iter()
                .chain([c])
        })
        .collect()
}

fn name(words: &[&str]) -> Result<Rule, String> {
    let (kind, from, rest) = pattern(words)?;
    let (to, mut options) = rest.split_first().ok_or("a name and what it becomes")?;
    let mut rewrite =
        Rewrite { name: Some(kind.normal(to)), answers: Answers::Keep, ..Rewrite::default() };
    // An exact name always goes back.
    if kind == Kind::Exact {
        rewrite.answers = Answers::RestoreAll;
    }
    let mut is_first = true;
    while !options.is_empty() {
        // The word may be missing of all but the first.
        options = match options {
            ["answer", rest @ ..] => answer(rest, &mut rewrite)?,
            [other, ..] if is_first => return Err(format!("`{other}` is not known here")),
            rest => answer(rest, &mut rewrite)?,
        };
        is_first = false;
    }
    // There the last one is the first that is made.
    for changes in [&mut rewrite.answer_names, &mut rewrite.answer_values].into_iter().flatten() {
        changes.reverse();
    }
    Ok(Rule { matches: kind.matches(from), rewrite: Some(rewrite), ..Rule::default() })
}

/// What becomes of the names of an answer: one change is read, and what follows it is left.
fn answer<'a, 'w>(words: &'a [&'w str], rewrite: &mut Rewrite) -> Result<&'a [&'w str], String> {
    let (changes, regex, to, rest) = match words {
        ["auto", rest @ ..] => {
            rewrite.answers = Answers::RestoreAll;
            return Ok(rest);
        }
        ["name", regex, to, rest @ ..] => (&mut rewrite.answer_names, regex, to, rest),
        ["value", regex, to, rest @ ..] => (&mut rewrite.answer_values, regex, to, rest),
        // The older form, without a word.
        [regex, to, rest @ ..] => (&mut rewrite.answer_names, regex, to, rest),
        _ => return Err("an `answer` that is not known".into()),
    };
    changes.get_or_insert_default().push(change(regex, to));
    Ok(rest)
}

fn change(regex: &str, to: &str) -> NameChange {
    NameChange { regex: regex.to_owned(), to: to.to_owned() }
}

fn class(text: &str) -> Result<Class, String> {
    match &*text.to_ascii_uppercase() {
        "IN" => Ok(Class::IN),
        "CH" => Ok(Class::CH),
        "HS" => Ok(Class::HS),
        other => Err(format!("class {other}: only IN, CH and HS are known")),
    }
}

/// `30`, `30-300`, `-300` or `30-`.
fn ttl(text: &str) -> Result<TtlRange, String> {
    let bound = |text: &str| match text {
        "" => Ok(None),
        text => match text.parse::<u32>() {
            Ok(seconds) if seconds <= MAX_TTL => Ok(Some(format!("{seconds}s"))),
            Ok(_) => Err(format!("`{text}`: at most {MAX_TTL} seconds, a week")),
            Err(_) => Err(format!("`{text}` is no number of seconds")),
        },
    };
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    Ok(TtlRange { min: bound(min)?, max: bound(max)? })
}

/// A week.
const MAX_TTL: u32 = 604_800;

/// A name of the registry, or its number.
pub(super) fn rcode(text: &str) -> Result<ResponseCode, String> {
    let names = [
        ("NOERROR", ResponseCode::NOERROR),
        ("FORMERR", ResponseCode::FORMERR),
        ("SERVFAIL", ResponseCode::SERVFAIL),
        ("NXDOMAIN", ResponseCode::NXDOMAIN),
        ("NOTIMP", ResponseCode::NOTIMP),
        ("REFUSED", ResponseCode::REFUSED),
        ("YXDOMAIN", ResponseCode::YXDOMAIN),
        ("YXRRSET", ResponseCode::YXRRSET),
        ("NXRRSET", ResponseCode::NXRRSET),
        ("NOTAUTH", ResponseCode::NOTAUTH),
        ("NOTZONE", ResponseCode::NOTZONE),
    ];
    let by_number = text.parse::<usize>().ok().and_then(|number| names.get(number));
    let by_name = names.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
    let found =
        by_number.or(by_name).ok_or_else(|| format!("`{text}` is no response code of a query"))?;
    Ok(found.1)
}

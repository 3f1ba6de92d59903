//! Hosts files: which of them dnsmasq reads, and what of their lines is different here.
//!
//! The proxy reads them by itself. Those that are named are looked at here to tell of such lines, and because names above
//! those in them are there, too; that of the machine only where `expand-hosts` completes its names. Where a line would let
//! questions pass that dnsmasq keeps, or names are completed, the manifest has the lines in place of the file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    net::IpAddr,
    path::Path,
};

use dnsproxy_api::{
    bounds,
    units::Zone,
    v1alpha1::{Allow, NameMatch, Source, rule::Rule},
};

use super::{Opt, domain::OwnDomains, domains::Domains, draft, pattern::upwards};
use crate::{
    config::read_bounded,
    import::{Draft, addresses::reverse_name},
    lists::domains::OWN_NAMES,
};

/// What was seen in hosts files.
#[derive(Debug, Default)]
pub(super) struct HostsFiles {
    /// The lines of options, their texts and paths.
    named: Vec<(usize, String, String)>,
    /// Names that are above others.
    pub(super) above: BTreeSet<String>,
    /// What each machine's own file has, and lists of names leave out, as far as it is there.
    own: BTreeSet<&'static str>,
    /// The first name of each address.
    first_names: BTreeMap<IpAddr, String>,
    /// Whether there are files that were not looked at.
    pub(super) has_unseen: bool,
    /// Addresses of which it was told that they have more.
    told: BTreeSet<IpAddr>,
}

impl HostsFiles {
    /// `addn-hosts`: a file, or all files of a folder.
    pub(super) fn take(&mut self, option: &Opt<'_>) -> Result<(), String> {
        if option.value.is_empty() {
            return Err("no file".into());
        }
        self.named.push((option.line, option.text.to_owned(), option.value.to_owned()));
        Ok(())
    }

    /// Reads those that are named, and takes in what dnsmasq reads unless it is told not to. `own_domains`: what names
    /// without a dot are completed with.
    pub(super) fn read(
        &mut self,
        own_domains: Option<&OwnDomains>,
        with_machine: bool,
        draft: &mut Draft,
    ) {
        for (line, text, path) in std::mem::take(&mut self.named) {
            let folder = Path::new(&path);
            if !folder.is_dir() {
                draft.note(line, text, OF_HOSTS);
                self.file(line, &path, own_domains, draft);
                continue;
            }
            match files_of(folder) {
                Ok(files) => {
                    let count = files.len();
                    let reason =
                        format!("the files that are in it now, {count} of them; {OF_HOSTS}");
                    draft.note(line, text, reason);
                    files.iter().for_each(|file| self.file(line, file, own_domains, draft));
                }
                Err(error) => draft.note(line, text, format!("cannot be read here: {error}")),
            }
        }
        match own_domains {
            _ if !with_machine => {}
            None => {
                let reason = format!(
                    "as dnsmasq does, the manifest answers the names of {ETC_HOSTS}, of the machine that it runs on; the file was not read here; {OF_HOSTS}"
                );
                draft.note(0, "no `no-hosts`", reason);
                self.own.extend(OWN_NAMES);
                self.has_unseen = true;
                draft.hosts_file(ETC_HOSTS);
            }
            Some(_) => {
                let reason = format!(
                    "{ETC_HOSTS} of THIS machine was read, as its names get the domain (`expand-hosts`); where dnsmasq runs on another one, write the lines of that one in their place; {OF_HOSTS}"
                );
                draft.note(0, "no `no-hosts`", reason);
                self.file(0, ETC_HOSTS, own_domains, draft);
            }
        }
    }

    /// Addresses of `spec.hosts` that stand in no file.
    pub(super) fn know_addresses(&mut self, addresses: Vec<IpAddr>) {
        for address in addresses {
            self.first_names.entry(address).or_default();
        }
    }

    /// dnsmasq looks into hosts files before anything but records is looked at: their names are let pass to where they
    /// are answered. So are names of addresses, as far as something is said about them.
    pub(super) fn known(&self, draft: &mut Draft, domains: &Domains) -> Rule {
        let lists = Some(vec![draft.hosts_list(draft.hosts_sources(0))]);
        let own = self.own.iter().filter(|name| name.parse::<IpAddr>().is_err());
        let own = own.map(|name| (*name).to_owned());
        let addresses = self.first_names.keys().filter(|address| !address.is_unspecified());
        let reverse = addresses.map(|address| reverse_name(*address));
        let reverse = reverse.filter(|name| domains.have(name));
        let exact: Vec<_> = own.chain(reverse).collect();
        let exact = Some(exact).filter(|names| !names.is_empty());
        let matches = draft::names(NameMatch { lists, exact, ..NameMatch::default() });
        Rule { matches, allow: Some(Allow {}), ..Rule::default() }
    }

    fn file(
        &mut self,
        line: usize,
        path: &str,
        own_domains: Option<&OwnDomains>,
        draft: &mut Draft,
    ) {
        let sources = draft.spec.hosts.as_ref().map_or(0, |hosts| hosts.sources.len());
        let room = (bounds::SOURCES as usize).saturating_sub(sources);
        if room == 0 {
            draft.note(line, path, format!("left out: there are {sources} hosts files already"));
            return;
        }
        let text = match File::open(path).and_then(read_bounded) {
            Ok(octets) => String::from_utf8_lossy(&octets).into_owned(),
            Err(error) => {
                let reason = format!("{error}: it could not be looked at, {UNSEEN}");
                draft.note(line, path, reason);
                if own_domains.is_some() {
                    draft.note(line, path, "names without a dot do not get the domain here");
                }
                self.own.extend(OWN_NAMES);
                self.has_unseen = true;
                return draft.hosts_file(path);
            }
        };
        let Seen { kept, is_changed, is_completed, notes } = self.look(&text, own_domains);
        let more = notes.len().saturating_sub(MAX_TOLD);
        notes.into_iter().take(MAX_TOLD).for_each(|note| draft.note(line, path, note));
        if more > 0 {
            draft.note(line, path, format!("and {more} more like these"));
        }
        if !(is_changed || is_completed) {
            return draft.hosts_file(path);
        }
        let texts = in_parts(&kept);
        if texts.len() > room {
            let reason = "it is too long to be copied as it is read there: its own lines count";
            draft.note(line, path, reason);
            return draft.hosts_file(path);
        }
        let reason = match (is_completed, is_changed) {
            (true, false) => {
                "the manifest has its lines, names without a dot with the domain as well, as they are now: import again when they change"
            }
            (true, true) => {
                "the manifest has its lines without these, names without a dot with the domain as well, as they are now: import again when they change"
            }
            (false, _) => "the manifest has its lines without these, as they are now",
        };
        draft.note(line, path, reason);
        if texts.is_empty() {
            return;
        }
        let source = |text| Source { inline: Some(text), ..Source::default() };
        let hosts = draft.spec.hosts.get_or_insert_default();
        hosts.sources.extend(texts.into_iter().map(source));
    }

    /// Looks at the lines of a file.
    fn look(&mut self, text: &str, own_domains: Option<&OwnDomains>) -> Seen {
        let mut seen = Seen::default();
        for (number, line) in (1..).zip(text.lines()) {
            let mut fields = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let Some(address) = fields.next() else { continue };
            let names: Vec<_> = fields.collect();
            match address.parse() {
                Ok(address) => {
                    let domain = own_domains.and_then(|own| own.of(address));
                    self.look_at(number, (address, &names), domain, &mut seen);
                }
                // A list of names takes these.
                Err(_) if address.contains('%') && names.iter().any(|name| !is_own(name)) => {
                    seen.is_changed = true;
                    seen.note(number, address, "it is no address to dnsmasq");
                }
                Err(_) => {}
            }
        }
        seen
    }

    fn look_at(
        &mut self,
        line: usize,
        (address, names): (IpAddr, &[&str]),
        domain: Option<&str>,
        seen: &mut Seen,
    ) {
        let mut kept = String::new();
        let whole = |name: &str| match domain {
            Some(domain) if !name.contains('.') => Some(format!("{name}.{domain}")),
            _ => None,
        };
        for name in names.iter().filter(|name| name.parse::<IpAddr>().is_err()) {
            self.know(name);
            if name.starts_with("*.") || name.starts_with('.') {
                seen.is_changed = true;
                seen.note(line, name, "dnsmasq takes it as it stands, for one name");
                continue;
            }
            if let Err(error) = name.parse::<Zone>() {
                seen.note(line, name, &format!("{error}: it is not answered here"));
            }
            if let Some(whole) = whole(name) {
                self.know(&whole);
                seen.is_completed = true;
                kept.push(' ');
                kept.push_str(&whole);
            }
            kept.push(' ');
            kept.push_str(name);
        }
        if !kept.is_empty() {
            seen.kept.push_str(&format!("{address}{kept}\n"));
        }
        if let Some(name) = names.first() {
            let name = whole(name).unwrap_or_else(|| (*name).to_owned());
            self.look_back(line, address, &name, seen);
        }
    }

    fn know(&mut self, name: &str) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.own.extend(OWN_NAMES.iter().filter(|own| **own == name));
        let above = upwards(&name).skip(1).filter(|above| above.parse::<Zone>().is_ok());
        self.above.extend(above.map(str::to_owned));
    }

    /// An address leads back to the first of its names there.
    fn look_back(&mut self, line: usize, address: IpAddr, name: &str, seen: &mut Seen) {
        let first = self.first_names.entry(address).or_insert_with(|| name.to_owned());
        if address.is_unspecified() && self.told.insert(address) {
            seen.note(line, &address.to_string(), "it does not lead back to a name here");
        } else if !first.eq_ignore_ascii_case(name) && self.told.insert(address) {
            let reason =
                format!("{address} leads back to it here, too, in dnsmasq to `{first}` alone");
            seen.note(line, name, &reason);
        }
    }
}

/// What was seen in a file.
#[derive(Default)]
struct Seen {
    /// Its lines, without what would be more here.
    kept: String,
    /// Whether that is less than all.
    is_changed: bool,
    /// Whether names have got a domain.
    is_completed: bool,
    notes: Vec<String>,
}

impl Seen {
    fn note(&mut self, line: usize, subject: &str, reason: &str) {
        self.notes.push(format!("line {line}: `{subject}`: {reason}"));
    }
}

/// A text in parts that are not longer than one may be.
fn in_parts(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match parts.last_mut() {
            Some(part) if part.len() + line.len() <= bounds::INLINE as usize => part.push_str(line),
            _ => parts.push(line.to_owned()),
        }
    }
    parts
}

fn is_own(name: &str) -> bool {
    OWN_NAMES.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// The files of a folder that dnsmasq reads, by their names.
fn files_of(folder: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_passed_over = name.starts_with(['.', '#']) || name.ends_with('~');
        if !is_passed_over && path.is_file() {
            files.push(path.to_string_lossy().into_owned());
        }
    }
    files.sort();
    Ok(files)
}

/// Lines of a file that are told one by one; our guess at what somebody reads.
const MAX_TOLD: usize = 20;

const ETC_HOSTS: &str = "/etc/hosts";

const OF_HOSTS: &str = "questions for other types than those of a name's addresses get NODATA here, where dnsmasq \
                        asks the servers; outside of local domains, names above are what upstreams say";

const UNSEEN: &str = "neither for lines that are read in another way here, nor for names above its names, which are \
                      NXDOMAIN in local domains";

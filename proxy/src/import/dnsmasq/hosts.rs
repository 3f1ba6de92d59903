//! Hosts files: which of them dnsmasq reads, and what of their lines is different here.
//!
//! The proxy reads them by itself. They are looked at here to tell of such lines, and because names above those in them
//! are there, too. Where a line would let questions pass that dnsmasq keeps, the manifest has the other lines in place of
//! the file.

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

use super::{Opt, draft, pattern::upwards};
use crate::{config::read_bounded, import::Draft, lists::domains::OWN_NAMES};

/// What was seen in hosts files.
#[derive(Debug, Default)]
pub(super) struct HostsFiles {
    /// Names that are above others.
    pub(super) above: BTreeSet<String>,
    /// What each machine's own file has, and lists of names leave out, as far as it is there.
    own: BTreeSet<&'static str>,
    /// The first name of each address.
    first_names: BTreeMap<IpAddr, String>,
    /// Addresses of which it was told that they have more.
    told: BTreeSet<IpAddr>,
}

impl HostsFiles {
    /// `addn-hosts`: a file, or all files of a folder.
    pub(super) fn take(&mut self, option: &Opt<'_>, draft: &mut Draft) -> Result<(), String> {
        let path = Path::new(option.value);
        if option.value.is_empty() {
            return Err("no file".into());
        }
        if !path.is_dir() {
            draft.note(option.line, option.text, OF_HOSTS);
            self.file(option.line, option.value, draft);
            return Ok(());
        }
        let files = files_of(path).map_err(|error| format!("cannot be read here: {error}"))?;
        let reason = format!("the files that are in it now, {} of them; {OF_HOSTS}", files.len());
        draft.note(option.line, option.text, reason);
        files.iter().for_each(|file| self.file(option.line, file, draft));
        Ok(())
    }

    /// What dnsmasq reads unless it is told not to.
    pub(super) fn of_machine(&mut self, draft: &mut Draft) {
        let reason = format!("the names of {ETC_HOSTS} are answered, as dnsmasq does; {OF_HOSTS}");
        draft.note(0, "no `no-hosts`", reason);
        self.file(0, ETC_HOSTS, draft);
    }

    /// dnsmasq looks into hosts files before anything but records is looked at: their names are let pass to where they
    /// are answered.
    pub(super) fn known(&self, draft: &mut Draft) -> Rule {
        let lists = Some(vec![draft.hosts_list()]);
        let own = self.own.iter().filter(|name| name.parse::<IpAddr>().is_err());
        let exact: Vec<_> = own.map(|name| (*name).to_owned()).collect();
        let exact = Some(exact).filter(|names| !names.is_empty());
        let matches = draft::names(NameMatch { lists, exact, ..NameMatch::default() });
        Rule { matches, allow: Some(Allow {}), ..Rule::default() }
    }

    fn file(&mut self, line: usize, path: &str, draft: &mut Draft) {
        let sources = draft.spec.hosts.as_ref().map_or(0, |hosts| hosts.sources.len());
        if sources >= bounds::SOURCES as usize {
            draft.note(line, path, format!("left out: there are {sources} hosts files already"));
            return;
        }
        let text = match File::open(path).and_then(read_bounded) {
            Ok(octets) => String::from_utf8_lossy(&octets).into_owned(),
            Err(error) => {
                let reason = format!("{error}: it could not be looked at, {UNSEEN}");
                draft.note(line, path, reason);
                self.own.extend(OWN_NAMES);
                return draft.hosts_file(path);
            }
        };
        let Seen { kept, is_changed, notes } = self.look(&text);
        let more = notes.len().saturating_sub(MAX_TOLD);
        notes.into_iter().take(MAX_TOLD).for_each(|note| draft.note(line, path, note));
        if more > 0 {
            draft.note(line, path, format!("and {more} more like these"));
        }
        let is_long = kept.len() > bounds::INLINE as usize;
        if is_changed && !is_long {
            draft.note(line, path, "the manifest has its lines without these, as they are now");
            if !kept.is_empty() {
                let source = Source { inline: Some(kept), ..Source::default() };
                draft.spec.hosts.get_or_insert_default().sources.push(source);
            }
            return;
        }
        if is_changed {
            draft.note(
                line,
                path,
                "it is too long to be copied without these lines: take them out",
            );
        }
        draft.hosts_file(path);
    }

    /// Looks at the lines of a file.
    fn look(&mut self, text: &str) -> Seen {
        let mut seen = Seen::default();
        for (number, line) in (1..).zip(text.lines()) {
            let mut fields = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let Some(address) = fields.next() else { continue };
            let names: Vec<_> = fields.collect();
            match address.parse() {
                Ok(address) => self.look_at(number, address, &names, &mut seen),
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

    fn look_at(&mut self, line: usize, address: IpAddr, names: &[&str], seen: &mut Seen) {
        let mut kept = String::new();
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
            kept.push(' ');
            kept.push_str(name);
        }
        if !kept.is_empty() {
            seen.kept.push_str(&format!("{address}{kept}\n"));
        }
        if let Some(name) = names.first() {
            self.look_back(line, address, name, seen);
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
    notes: Vec<String>,
}

impl Seen {
    fn note(&mut self, line: usize, subject: &str, reason: &str) {
        self.notes.push(format!("line {line}: `{subject}`: {reason}"));
    }
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

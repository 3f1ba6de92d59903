//! Hosts files: which of them dnsmasq reads, and what of their lines is different here.
//!
//! The proxy reads them by itself. They are looked at here to tell of such lines, and because names above those in them
//! are there, too. Where a line would let questions pass that dnsmasq keeps, the manifest has the other lines in place of
//! the file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    path::Path,
};

use dnsproxy_api::{
    bounds,
    units::Zone,
    v1alpha1::{Allow, NameMatch, Source, rule::Rule},
};

use super::{Opt, draft, pattern::upwards};
use crate::{import::Draft, lists::domains::OWN_NAMES};

/// What was seen in hosts files.
#[derive(Debug, Default)]
pub(super) struct HostsFiles {
    /// Names that are above others.
    pub(super) above: BTreeSet<String>,
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

    fn file(&mut self, line: usize, path: &str, draft: &mut Draft) {
        let sources = draft.spec.hosts.get_or_insert_default().sources.len();
        if sources >= bounds::SOURCES as usize {
            draft.note(line, path, format!("left out: there are {sources} hosts files already"));
            return;
        }
        let text = match fs::read(path) {
            Ok(octets) => String::from_utf8_lossy(&octets).into_owned(),
            Err(error) => {
                let reason = format!("{error}: it could not be looked at, {UNSEEN}");
                draft.note(line, path, reason);
                return draft.hosts_file(path);
            }
        };
        let seen = self.look(&text);
        let more = seen.notes.len().saturating_sub(MAX_TOLD);
        seen.notes.into_iter().take(MAX_TOLD).for_each(|note| draft.note(line, path, note));
        if more > 0 {
            draft.note(line, path, format!("and {more} more like these"));
        }
        match seen.kept {
            None => draft.hosts_file(path),
            Some(kept) if kept.is_empty() => {}
            Some(kept) if kept.len() > bounds::INLINE as usize => {
                draft.note(line, path, "it is too long to leave out these lines: do it yourself");
                draft.hosts_file(path);
            }
            Some(kept) => {
                draft.note(line, path, "the manifest has its lines without these, as they are now");
                let source = Source { inline: Some(kept), ..Source::default() };
                draft.spec.hosts.get_or_insert_default().sources.push(source);
            }
        }
    }

    /// Looks at the lines of a file.
    fn look(&mut self, text: &str) -> Seen {
        let (mut kept, mut notes) = (String::new(), Vec::new());
        let mut is_changed = false;
        for (number, line) in (1..).zip(text.lines()) {
            let mut fields = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let Some(address) = fields.next() else { continue };
            let names: Vec<_> = fields.collect();
            if address.contains('%') {
                is_changed = true;
                notes.push(format!("line {number}: `{address}` is no address to dnsmasq"));
                continue;
            }
            let Ok(address) = address.parse::<IpAddr>() else { continue };
            let taken = names.iter().filter(|name| {
                let doubt = doubt_of(name);
                notes.extend(
                    doubt.as_ref().map(|(why, _)| format!("line {number}: `{name}`: {why}")),
                );
                !doubt.is_some_and(|(_, is_wider)| is_wider)
            });
            let taken: Vec<_> = taken.copied().collect();
            is_changed |= taken.len() < names.len();
            self.note_names(address, &names, number, &mut notes);
            if !taken.is_empty() {
                kept.push_str(&format!("{address} {}\n", taken.join(" ")));
            }
        }
        Seen { kept: is_changed.then_some(kept), notes }
    }

    fn note_names(
        &mut self,
        address: IpAddr,
        names: &[&str],
        line: usize,
        notes: &mut Vec<String>,
    ) {
        for name in names.iter().filter(|name| name.parse::<IpAddr>().is_err()) {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let above = upwards(&name).skip(1).filter(|above| above.parse::<Zone>().is_ok());
            self.above.extend(above.map(str::to_owned));
        }
        let Some(name) = names.first() else { return };
        if address.is_unspecified() {
            if self.told.insert(address) {
                notes.push(format!(
                    "line {line}: `{address}`: it does not lead back to a name here"
                ));
            }
            return;
        }
        let first = self.first_names.entry(address).or_insert_with(|| (*name).to_owned());
        if !first.eq_ignore_ascii_case(name) && self.told.insert(address) {
            let reverse = "the address has both names here when its reverse name is asked for";
            notes.push(format!(
                "line {line}: `{name}`: dnsmasq leads back to `{first}` alone, {reverse}"
            ));
        }
    }
}

/// What is to be known about a file.
struct Seen {
    /// Its lines without those that would be more here; `None` when it can stay as it is.
    kept: Option<String>,
    notes: Vec<String>,
}

/// Why a name is another one here, and whether it stands for more names than there.
fn doubt_of(name: &str) -> Option<(String, bool)> {
    if name.starts_with("*.") || name.starts_with('.') {
        return Some(("dnsmasq takes it as it stands, for one name".into(), true));
    }
    if name.parse::<IpAddr>().is_ok() {
        return None;
    }
    name.parse::<Zone>().err().map(|error| (format!("{error}: it is not answered here"), false))
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

/// dnsmasq looks into hosts files before anything but records is looked at: their names are let pass to where they are
/// answered. A list of that format leaves out what each machine's own file has, such as `localhost`.
pub(super) fn known(draft: &mut Draft) -> Rule {
    let lists = Some(vec![draft.hosts_list()]);
    let own = OWN_NAMES.iter().filter(|name| name.parse::<IpAddr>().is_err());
    let exact = Some(own.map(|name| (*name).to_owned()).collect());
    let matches = draft::names(NameMatch { lists, exact, ..NameMatch::default() });
    Rule { matches, allow: Some(Allow {}), ..Rule::default() }
}

/// Lines of a file that are told one by one; our guess at what somebody reads.
const MAX_TOLD: usize = 20;

const ETC_HOSTS: &str = "/etc/hosts";

const OF_HOSTS: &str = "questions for other types than those of a name's addresses get NODATA here, where dnsmasq \
                        asks the servers; outside of local domains, names above are what upstreams say";

const UNSEEN: &str = "neither for lines that are read in another way here, nor for names above its names, which are \
                      NXDOMAIN in local domains";

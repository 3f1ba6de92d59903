//! The lists and hosts of a manifest, read once for as long as their sources stay the same.

use std::{path::Path, sync::Arc};

use dnsproxy_api::{defaults, units, v1alpha1 as api, validate::Problem};

use super::{PublicFile, reload};
use crate::{
    hosts::Hosts,
    lists::{List, Origin, Problems, Source},
};

/// Names from files, of one manifest.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// For rules.
    pub lists: Vec<Arc<List>>,
    /// Those that are answered here.
    pub hosts: Arc<Hosts>,
    /// Sources that cannot be read, and what is done without them; tests that fail because of what is in files. All of what
    /// was just read.
    pub complaints: Vec<String>,
    /// Of these, those of lists that were not taken for that reason.
    kept: usize,
    /// The files that belong to it, those that cannot be read among them.
    files: reload::Files,
}

impl Names {
    /// Reads those of a valid manifest. Files begin at a folder, or are out of reach. What did not change since `known`
    /// is taken from there.
    pub(crate) fn read(spec: &api::DnsProxySpec, folder: Option<&Path>, known: &Self) -> Self {
        let mut names = Self::default();
        for api::NameList { name, format, sources } in spec.lists.iter().flatten() {
            let origin = Origin { format: *format, sources: names.sources(sources, folder) };
            let list = names.list(name, origin, known);
            names.lists.push(list);
        }
        if let Some(api::Hosts { sources, ttl }) = &spec.hosts {
            let ttl = ttl.as_deref().and_then(|ttl| ttl.parse::<units::Duration>().ok());
            let ttl = ttl.unwrap_or(defaults::HOSTS_TTL).to_std().as_secs();
            let sources = names.sources(sources, folder);
            names.hosts = names.hosts(sources, u32::try_from(ttl).unwrap_or(u32::MAX), known);
        }
        names
    }

    fn sources(&mut self, sources: &[api::Source], folder: Option<&Path>) -> Vec<Source> {
        let source = |source: &api::Source| match (&source.inline, &source.file, folder) {
            (Some(text), ..) => Source::Inline(Arc::from(&**text)),
            (None, Some(path), Some(folder)) => {
                let path = folder.join(path);
                let fingerprint = reload::Fingerprint::of(&path);
                self.files.insert(path.clone(), fingerprint);
                Source::File(path, fingerprint)
            }
            (None, ..) => Source::Elsewhere,
        };
        sources.iter().map(source).collect()
    }

    fn list(&mut self, name: &str, origin: Origin, known: &Self) -> Arc<List> {
        let known = known.lists.iter().find(|list| *list.name == *name);
        let is_whole = |list: &&Arc<List>| list.problems().sources.is_empty();
        if let Some(list) = known.filter(is_whole).filter(|list| *list.origin() == origin) {
            return Arc::clone(list);
        }
        let list = List::load(name, origin);
        let is_better = |known: &&Arc<List>| {
            known.origin().format == list.origin().format
                && is_same(&known.origin().sources, &list.origin().sources)
                && known.problems().sources.len() < list.problems().sources.len()
        };
        let kept = known.filter(is_better).cloned();
        self.complain(&format!("list {name}"), list.problems(), kept.is_some());
        kept.unwrap_or_else(|| Arc::new(list))
    }

    fn hosts(&mut self, sources: Vec<Source>, ttl: u32, known: &Self) -> Arc<Hosts> {
        let known = &known.hosts;
        if known.is_of(&sources, ttl) && known.problems().sources.is_empty() {
            return Arc::clone(known);
        }
        let hosts = Hosts::load(sources, ttl);
        let is_kept = is_same(known.sources(), hosts.sources())
            && known.problems().sources.len() < hosts.problems().sources.len();
        self.complain("hosts", hosts.problems(), is_kept);
        if is_kept { Arc::clone(known) } else { Arc::new(hosts) }
    }

    /// A name that is blocked today shall not be open tomorrow because a file is being moved.
    fn complain(&mut self, what: &str, problems: &Problems, is_known: bool) {
        let instead = if is_known { "what was read before stays" } else { "the rest is used" };
        let complaint = |reason: &String| format!("{what}: {reason}; {instead}");
        self.complaints.extend(problems.sources.iter().map(complaint));
        if is_known {
            self.kept += problems.sources.len();
        }
    }

    /// Files change by themselves, the manifest does not: it was good, and is not refused for that.
    pub(super) fn complain_of_tests(&mut self, failures: &[Problem]) {
        let complaint = |failure: &Problem| {
            format!("{failure}; a file has changed what is matched, so it is used all the same")
        };
        self.complaints.extend(failures.iter().map(complaint));
    }

    /// How many sources cannot be read.
    pub fn unreadable_sources(&self) -> usize {
        let used: usize = self.problems().map(|(_, problems)| problems.sources.len()).sum();
        used + self.kept
    }

    /// The files, each as it was just before it was read.
    pub(super) fn files(&self) -> &reload::Files {
        &self.files
    }

    /// What anybody may know of the files.
    pub(super) fn public_files(&self) -> Vec<PublicFile> {
        let of_lists = self.lists.iter().flat_map(|list| list.files());
        let all = of_lists.chain(self.hosts.files());
        let mut files: Vec<PublicFile> = Vec::new();
        for (path, hash) in all {
            if !files.iter().any(|file| file.path == *path) {
                files.push(PublicFile { path: path.clone(), sha256: hash.cloned(), octets: None });
            }
        }
        files
    }

    /// What could not be read, for people: the part of the manifest, and what is wrong.
    pub fn problems(&self) -> impl Iterator<Item = (String, &Problems)> {
        let lists = self.lists.iter().enumerate();
        let lists = lists.map(|(index, list)| (format!("spec.lists[{index}]"), list.problems()));
        lists.chain([("spec.hosts".to_owned(), self.hosts.problems())])
    }
}

/// Whether sources are the same places, whatever is there now.
fn is_same(known: &[Source], new: &[Source]) -> bool {
    let is_same = |(known, new): (&Source, &Source)| match (known, new) {
        (Source::File(known, _), Source::File(new, _)) => known == new,
        (known, new) => known == new,
    };
    !known.is_empty() && known.len() == new.len() && known.iter().zip(new).all(is_same)
}

//! Notices that files have changed: the manifest, certificates, keys.
//!
//! Files are looked at, not subscribed to: kubelet swaps a symbolic link two levels above the file, editors
//! rename, network file systems tell nothing. A look costs a few microseconds. A change counts once it
//! stands still for one look, so that a file is not read while it is being written.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Between two looks; a change is noticed after two of them: our guess at "at once" for people.
const INTERVAL: Duration = Duration::from_millis(250);

/// What tells one state of a file from another; `None` while there is no such file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint(Option<[i64; 7]>);

impl Fingerprint {
    /// Looks at a file, through symbolic links.
    pub fn of(path: &Path) -> Self {
        let fields = |file: fs::Metadata| -> io::Result<[i64; 7]> {
            let signed = u64::cast_signed;
            Ok([
                signed(file.dev()),
                signed(file.ino()),
                signed(file.size()),
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec(),
            ])
        };
        Self(fs::metadata(path).and_then(fields).ok())
    }
}

/// The files that a configuration was made of, each as it was just before it was read.
pub type Files = BTreeMap<PathBuf, Fingerprint>;

/// Waits for changes of files.
#[derive(Debug)]
pub struct Watcher {
    seen: Files,
    unsettled: Option<Files>,
}

impl Watcher {
    /// Watches these files.
    pub fn new(files: &Files) -> Self {
        Self { seen: files.clone(), unsettled: None }
    }

    /// Watches these files from now on. What was seen of the ones that are watched already stays: a
    /// configuration that was rejected is not read again until something changes.
    pub fn follow(&mut self, files: &Files) {
        let seen = |(path, loaded): (&PathBuf, &Fingerprint)| {
            (path.clone(), self.seen.get(path).copied().unwrap_or(*loaded))
        };
        self.seen = files.iter().map(seen).collect();
    }

    /// Ends when a file has changed and stands still. Files are looked at on a thread of its own: a disk may not answer.
    pub async fn changed(&mut self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let paths: Vec<_> = self.seen.keys().cloned().collect();
            let looking = tokio::task::spawn_blocking(move || look_at(paths));
            if looking.await.is_ok_and(|now| self.note(now)) {
                return;
            }
        }
    }

    fn note(&mut self, now: Files) -> bool {
        if now == self.seen {
            self.unsettled = None;
            return false;
        }
        if self.unsettled.as_ref() != Some(&now) {
            self.unsettled = Some(now);
            return false;
        }
        self.seen = now;
        self.unsettled = None;
        true
    }
}

fn look_at(paths: Vec<PathBuf>) -> Files {
    paths.into_iter().map(|path| (path.clone(), Fingerprint::of(&path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Watcher {
        fn look(&mut self) -> bool {
            self.note(look_at(self.seen.keys().cloned().collect()))
        }
    }

    /// A folder that goes away with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("dnsproxy-reload-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn watcher(path: &Path) -> Watcher {
        Watcher::new(&BTreeMap::from([(path.to_owned(), Fingerprint::of(path))]))
    }

    #[test]
    fn a_change_counts_once_it_stands_still() {
        let folder = Folder::new("settle");
        let path = folder.0.join("a");
        fs::write(&path, "one").unwrap();
        let mut watcher = watcher(&path);

        assert!(!watcher.look(), "nothing has changed");
        fs::write(&path, "one two").unwrap();
        assert!(!watcher.look(), "it may still be being written");
        fs::write(&path, "one two three").unwrap();
        assert!(!watcher.look(), "it is");
        assert!(watcher.look(), "now it stands still");
        assert!(!watcher.look(), "and is seen");
    }

    #[test]
    fn a_file_that_appears_or_is_renamed_over_is_a_change() {
        let folder = Folder::new("appear");
        let path = folder.0.join("a");
        let mut watcher = watcher(&path);

        fs::write(&path, "one").unwrap();
        assert!(!watcher.look() && watcher.look(), "it appears");
        fs::write(folder.0.join("b"), "two").unwrap();
        fs::rename(folder.0.join("b"), &path).unwrap();
        assert!(!watcher.look() && watcher.look(), "another one takes its place");
    }

    #[test]
    fn a_swapped_link_above_the_file_is_a_change() {
        let folder = Folder::new("swap");
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, folder.0.join(name)).unwrap()
        };
        for version in ["v1", "v2"] {
            fs::create_dir(folder.0.join(version)).unwrap();
            fs::write(folder.0.join(version).join("a"), "same length").unwrap();
        }
        link("v1", "..data");
        link("..data/a", "a");
        let mut watcher = watcher(&folder.0.join("a"));

        link("v2", "..next");
        fs::rename(folder.0.join("..next"), folder.0.join("..data")).unwrap();

        assert!(!watcher.look() && watcher.look());
    }
}

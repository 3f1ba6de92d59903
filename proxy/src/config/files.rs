//! The files that a manifest refers to.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::reload::{Files, Fingerprint};

/// A file that anybody may see: a certificate or an authority, never a key.
#[derive(Clone, Debug)]
pub struct PublicFile {
    /// Its path.
    pub path: PathBuf,
    /// Its content; `None` while it is missing.
    pub octets: Option<Arc<[u8]>>,
}

/// Longer than any bundle of authorities; a larger file is some other file: our guess.
const MAX_LEN: u64 = 8 << 20;

/// Reads files and remembers which.
#[derive(Debug)]
pub(super) struct Reader {
    folder: PathBuf,
    pub(super) files: Files,
    pub(super) public: Vec<PublicFile>,
}

impl Reader {
    /// Relative paths start at `folder`.
    pub(super) fn new(folder: &Path, files: Files) -> Self {
        Self { folder: folder.to_owned(), files, public: Vec::new() }
    }

    /// Reads a file that anybody may see.
    pub(super) fn read_public(&mut self, path: &str) -> Result<Arc<[u8]>, Arc<str>> {
        let result = self.read(path);
        self.public.push(PublicFile {
            path: self.folder.join(path),
            octets: result.as_ref().ok().cloned(),
        });
        result
    }

    /// Reads a file, or tells people why that cannot be done.
    pub(super) fn read(&mut self, path: &str) -> Result<Arc<[u8]>, Arc<str>> {
        let path = self.folder.join(path);
        self.files.insert(path.clone(), Fingerprint::of(&path));
        let fail = |error| format!("{}: {error}", path.display()).into();
        let len = fs::metadata(&path).map_err(|error| fail(error.to_string()))?.len();
        if len > MAX_LEN {
            return Err(fail(format!("larger than {MAX_LEN} octets")));
        }
        fs::read(&path).map(Arc::from).map_err(|error| fail(error.to_string()))
    }
}

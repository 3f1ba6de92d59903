//! The files that a manifest refers to.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::reload::{Files, Fingerprint};

/// A file that anybody may see: a certificate, an authority or a list, never a key.
#[derive(Clone, Debug)]
pub struct PublicFile {
    /// Its path.
    pub path: PathBuf,
    /// The hash of its content; `None` while it is missing.
    pub sha256: Option<String>,
    /// Its content, when there may be certificates in it.
    pub octets: Option<Arc<[u8]>>,
}

/// Longer than any manifest or bundle of authorities; a larger file is some other file: our guess.
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
            sha256: result.as_deref().ok().map(super::sha256),
            octets: result.as_ref().ok().cloned(),
        });
        result
    }

    /// Reads a file, or tells people why that cannot be done.
    pub(super) fn read(&mut self, path: &str) -> Result<Arc<[u8]>, Arc<str>> {
        let path = self.folder.join(path);
        self.files.insert(path.clone(), Fingerprint::of(&path));
        let octets = File::open(&path).and_then(read_bounded);
        octets.map(Arc::from).map_err(|error| format!("{}: {error}", path.display()).into())
    }
}

/// Reads to the end, of which a device has none and a file that grows may have a late one.
pub(crate) fn read_bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    let read = source.take(MAX_LEN + 1).read_to_end(&mut octets)?;
    if read as u64 > MAX_LEN {
        let too_large = format!("larger than {MAX_LEN} octets");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, too_large));
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read_for_ever() {
        let mut reader = Reader::new(Path::new("/dev"), Files::new());

        let refused = reader.read("zero").unwrap_err();

        assert_eq!(&*refused, "/dev/zero: larger than 8388608 octets");
        let len = usize::try_from(MAX_LEN).unwrap();
        assert_eq!(
            read_bounded(io::repeat(b'a').take(MAX_LEN)).unwrap().len(),
            len,
            "not one less"
        );
    }
}

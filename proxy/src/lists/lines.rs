//! The lines of a source, one at a time, each and all of them bounded.

use std::{
    io::{self, BufRead, BufReader, Read},
    str,
};

use aws_lc_rs::digest;
use flate2::bufread::MultiGzDecoder;

/// Longer than any line about a name: a name of 255 octets, each escaped, and a comment.
const MAX_LINE: usize = 4096;
/// More than any source has, once it is decompressed; our guess. A few octets of gzip can become as many.
const MAX_LEN: u64 = 1 << 30;

/// The lines of a text.
pub(super) struct Lines<'s> {
    source: Box<dyn BufRead + 's>,
    line: Vec<u8>,
    number: usize,
    read: u64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Line<'l> {
    /// The first is 1.
    pub(super) number: usize,
    /// Without its end; `Err` when it is longer than a line may be.
    pub(super) text: Result<&'l str, TooLong>,
}

/// A line is longer than any that says something about a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooLong;

impl<'s> Lines<'s> {
    /// Those of a text, or of one that gzip has compressed.
    pub(super) fn of(source: impl Read + 's) -> io::Result<Self> {
        let mut source = BufReader::with_capacity(64 << 10, source);
        let is_compressed = source.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let source: Box<dyn BufRead + 's> = if is_compressed {
            Box::new(BufReader::with_capacity(64 << 10, MultiGzDecoder::new(source)))
        } else {
            Box::new(source)
        };
        Ok(Self { source, line: Vec::new(), number: 0, read: 0 })
    }

    /// The next one; nothing is the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let (mut len, mut is_end) = (0, false);
        while !is_end {
            let chunk = self.source.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let end = memchr::memchr(b'\n', chunk);
            let used = end.map_or(chunk.len(), |end| end + 1);
            let room = (MAX_LINE + 2).saturating_sub(self.line.len());
            self.line.extend_from_slice(chunk.get(..used.min(room)).unwrap_or_default());
            is_end = end.is_some();
            len += used;
            self.source.consume(used);
            self.read += used as u64;
            if self.read > MAX_LEN {
                let reason = format!("larger than {MAX_LEN} octets");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
            }
        }
        if len == 0 {
            return Ok(None);
        }
        self.number += 1;
        let text = text(&mut self.line, self.number, len);
        Ok(Some(Line { number: self.number, text }))
    }
}

/// What stands in a line. What is not UTF-8 is hardly more than a comment.
fn text(line: &mut Vec<u8>, number: usize, len: usize) -> Result<&str, TooLong> {
    while line.pop_if(|last| matches!(last, b'\n' | b'\r')).is_some() {}
    if number == 1 && line.starts_with(b"\xef\xbb\xbf") {
        line.drain(..3);
    }
    if len > MAX_LINE + 2 || line.len() > MAX_LINE {
        return Err(TooLong);
    }
    if str::from_utf8(line).is_err() {
        *line = String::from_utf8_lossy(line).into_owned().into_bytes();
    }
    Ok(str::from_utf8(line).unwrap_or_default())
}

/// Hashes what is read through it.
pub(super) struct Hashing<R> {
    inner: R,
    hash: digest::Context,
}

impl<R: Read> Hashing<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, hash: digest::Context::new(&digest::SHA256) }
    }

    /// The SHA-256 of what was read, in hexadecimal.
    pub(super) fn finish(self) -> String {
        crate::config::hex(&self.hash.finish())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..len).unwrap_or_default());
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn lines(octets: &[u8]) -> Vec<Option<String>> {
        let mut lines = Lines::of(octets).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            assert_eq!(line.number, all.len() + 1);
            all.push(line.text.ok().map(str::to_owned));
        }
        all
    }

    #[test]
    fn lines_end_as_people_end_them() {
        let line = |text: &str| Some(text.to_owned());
        let cases: [(&[u8], _); 6] = [
            (b"", vec![]),
            (b"a\nb", vec![line("a"), line("b")]),
            (b"a\r\n\nb\n", vec![line("a"), line(""), line("b")]),
            (b"\xef\xbb\xbfa\n", vec![line("a")]),
            (b"# caf\xe9\nb", vec![line("# caf\u{fffd}"), line("b")]),
            (b"a\0b", vec![line("a\0b")]),
        ];

        for (octets, expected) in cases {
            assert_eq!(lines(octets), expected, "{octets:?}");
        }
    }

    #[test]
    fn a_line_of_any_length_is_passed_over_and_not_kept() {
        let long = [vec![b'a'; 4 << 20], b"\nb\n".to_vec()].concat();
        let fitting = "a".repeat(MAX_LINE);

        assert_eq!(lines(&long), [None, Some("b".into())]);
        assert_eq!(lines(format!("{fitting}\r\nb").as_bytes()), [Some(fitting), Some("b".into())]);
        let mut reader = Lines::of(&*long).unwrap();
        reader.next().unwrap();
        assert!(reader.line.capacity() <= 4 * MAX_LINE);
    }

    #[test]
    fn gzip_is_found_out_by_its_first_octets_and_may_have_several_members() {
        let gzip = |text: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let members = [gzip(b"a\nb"), gzip(b"c\nd\n")].concat();

        assert_eq!(lines(&members), ["a", "bc", "d"].map(|text| Some(text.to_owned())));
        let mut cut = Lines::of(members.get(..20).unwrap()).unwrap();
        assert!((0..9).any(|_| cut.next().is_err()), "an end that comes too early is told");
    }

    #[test]
    fn what_is_read_is_hashed() {
        let mut hashing = Hashing::new(&b"a\n"[..]);
        assert!(Lines::of(&mut hashing).unwrap().next().unwrap().is_some());

        assert_eq!(hashing.finish(), crate::config::sha256(b"a\n"));
    }
}

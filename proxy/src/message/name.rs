//! Domain names in wire form (RFC 1035 section 3.1), compared by label and without regard to ASCII case.
//!
//! Labels are octets, not text: a dot or a NUL inside a label is an ordinary octet, so two names that
//! look alike when printed are still told apart. Only [`std::fmt::Display`] escapes (RFC 4343 section 2.1).

use std::{
    borrow::Cow,
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    str::FromStr,
};

/// The longest name, in octets, its root label included (RFC 1035 section 2.3.4).
pub const MAX_NAME_LEN: usize = 255;
/// The longest label (RFC 1035 section 2.3.4).
pub const MAX_LABEL_LEN: usize = 63;

/// A whole name, uncompressed, ending in the root label; its octets are its own, or those of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name<'m> {
    wire: Cow<'m, [u8]>,
}

/// Why octets or text are not a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// The message ends inside the name.
    #[error("the name is cut off")]
    Incomplete,
    /// A compression pointer where none can be, or a reserved label type.
    #[error("a label starts with {0:#04x}, which is no length")]
    LabelType(u8),
    /// More than [`MAX_NAME_LEN`] octets.
    #[error("the name is longer than 255 octets")]
    TooLong,
    /// More than [`MAX_LABEL_LEN`] octets.
    #[error("a label is longer than 63 octets")]
    LabelTooLong,
    /// Two dots in a row, or a dot at the start.
    #[error("a label is empty")]
    EmptyLabel,
    /// A backslash that is not followed by a character or by three digits up to 255.
    #[error("an escape is not \\DDD or \\X")]
    Escape,
}

impl<'m> Name<'m> {
    /// The root of the name tree.
    pub fn root() -> Self {
        Self { wire: Cow::Borrowed(&[0]) }
    }

    /// Reads an uncompressed name at `offset`, and the offset of what follows it.
    pub fn read(message: &'m [u8], offset: usize) -> Result<(Self, usize), NameError> {
        let rest = message.get(offset..).ok_or(NameError::Incomplete)?;
        let wire = rest.get(..uncompressed_len(rest)?).ok_or(NameError::Incomplete)?;
        Ok((Self { wire: Cow::Borrowed(wire) }, offset + wire.len()))
    }

    /// The same name with the octets of this one.
    pub fn as_ref(&self) -> Name<'_> {
        Name { wire: Cow::Borrowed(&self.wire) }
    }

    /// The same name with octets of its own.
    pub fn into_owned(self) -> Name<'static> {
        Name { wire: Cow::Owned(self.wire.into_owned()) }
    }

    /// The octets, from the first length to the root label.
    pub fn as_wire(&self) -> &[u8] {
        &self.wire
    }

    /// The labels from left to right, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.wire;
        std::iter::from_fn(move || {
            let (&len, tail) = rest.split_first()?;
            let (label, tail) = tail.split_at_checked(usize::from(len))?;
            rest = tail;
            (len > 0).then_some(label)
        })
    }

    /// The name and each of its ancestors down to the root, in wire form, the longest first.
    pub fn suffixes(&self) -> impl Iterator<Item = &[u8]> {
        let mut next = Some(&*self.wire);
        std::iter::from_fn(move || {
            let current = next?;
            let len = usize::from(*current.first()?);
            next = if len == 0 { None } else { current.get(1 + len..) };
            Some(current)
        })
    }

    /// How many labels there are, without the root.
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// Whether both are the same name. Length octets are below 64, so folding them changes nothing.
    pub fn eq_ignore_case(&self, other: &Name<'_>) -> bool {
        self.wire.eq_ignore_ascii_case(&other.wire)
    }

    /// Whether this is `zone` or a name below it, label by label.
    pub fn is_within(&self, zone: &Name<'_>) -> bool {
        self.suffixes().any(|suffix| suffix.eq_ignore_ascii_case(&zone.wire))
    }

    /// The wire form in lower case: equal for equal names.
    pub fn to_folded(&self) -> Box<[u8]> {
        self.wire.to_ascii_lowercase().into()
    }

    /// The same, in a buffer of the caller's.
    pub fn fold<'b>(&self, buffer: &'b mut [u8; MAX_NAME_LEN]) -> &'b [u8] {
        let folded = buffer.get_mut(..self.wire.len()).unwrap_or_default();
        folded.copy_from_slice(&self.wire);
        folded.make_ascii_lowercase();
        folded
    }
}

/// A hash of a name in wire form, without regard to the case of letters, and of two numbers. It depends on the secret: who does
/// not know that cannot make names collide. One for a name that is too long is as good as any other.
pub fn keyed_hash(secret: &RandomState, name: &[u8], numbers: [u64; 2]) -> u64 {
    const NUMBERS_LEN: usize = size_of::<[u64; 2]>();
    let mut octets = [0; MAX_NAME_LEN + NUMBERS_LEN];
    let len = name.len().min(MAX_NAME_LEN);
    // In one piece: each costs something, whatever its length.
    let (folded, rest) = octets.split_at_mut(len);
    folded.copy_from_slice(name.get(..len).unwrap_or_default());
    folded.make_ascii_lowercase();
    for (to, number) in rest.chunks_exact_mut(size_of::<u64>()).zip(numbers) {
        to.copy_from_slice(&number.to_le_bytes());
    }
    let mut hasher = secret.build_hasher();
    hasher.write(octets.get(..len + NUMBERS_LEN).unwrap_or_default());
    hasher.finish()
}

/// The length of the name at the start of `octets`, its root label included.
fn uncompressed_len(octets: &[u8]) -> Result<usize, NameError> {
    let mut at = 0;
    loop {
        let len = *octets.get(at).ok_or(NameError::Incomplete)?;
        if usize::from(len) > MAX_LABEL_LEN {
            return Err(NameError::LabelType(len));
        }
        at += 1 + usize::from(len);
        if at > MAX_NAME_LEN {
            return Err(NameError::TooLong);
        }
        if len == 0 {
            return Ok(at);
        }
    }
}

impl FromStr for Name<'static> {
    type Err = NameError;

    /// Reads presentation format (RFC 1035 section 5.1); the dot at the end may be missing.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "." {
            return Ok(Self::root());
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label = Vec::new();
        let mut octets = text.bytes();
        while let Some(octet) = octets.next() {
            match octet {
                b'.' => push_label(&mut wire, &mut label)?,
                b'\\' => label.push(escaped(&mut octets)?),
                plain => label.push(plain),
            }
        }
        if !label.is_empty() || wire.is_empty() {
            push_label(&mut wire, &mut label)?;
        }
        wire.push(0);
        if wire.len() > MAX_NAME_LEN {
            Err(NameError::TooLong)
        } else {
            Ok(Self { wire: wire.into() })
        }
    }
}

fn push_label(wire: &mut Vec<u8>, label: &mut Vec<u8>) -> Result<(), NameError> {
    let len = u8::try_from(label.len()).ok().filter(|&len| usize::from(len) <= MAX_LABEL_LEN);
    match len.ok_or(NameError::LabelTooLong)? {
        0 => return Err(NameError::EmptyLabel),
        len => wire.push(len),
    }
    wire.append(label);
    Ok(())
}

/// What follows a backslash: three digits, or one character that stands for itself.
fn escaped(octets: &mut std::str::Bytes<'_>) -> Result<u8, NameError> {
    let first = octets.next().ok_or(NameError::Escape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = octets.next().filter(u8::is_ascii_digit).ok_or(NameError::Escape)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::Escape)
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wire.len() == 1 {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                        write!(f, "\\{}", char::from(octet))?
                    }
                    0x21..=0x7e => write!(f, "{}", char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name<'static> {
        text.parse().unwrap()
    }

    #[test]
    fn reads_only_whole_uncompressed_names() {
        let longest = [vec![63; 1], vec![b'n'; 63]].concat().repeat(4);
        let cases: [(&str, &[u8], Result<usize, NameError>); 8] = [
            ("the root", b"\0", Ok(1)),
            ("an ordinary name, with octets after it", b"\x03www\x02de\0\0\x01", Ok(8)),
            ("a NUL and a dot are ordinary octets", b"\x03a\0.\0", Ok(5)),
            ("no octets", b"", Err(NameError::Incomplete)),
            ("no root label", b"\x03www", Err(NameError::Incomplete)),
            ("a pointer (RFC 1035 4.1.4)", b"\xc0\x0c", Err(NameError::LabelType(0xc0))),
            ("a reserved label type (RFC 6891 5)", b"\x41a\0", Err(NameError::LabelType(0x41))),
            ("257 octets", &longest, Err(NameError::TooLong)),
        ];

        for (why, octets, expected) in cases {
            assert_eq!(Name::read(octets, 0).map(|(_, end)| end), expected, "{why}");
        }
    }

    #[test]
    fn a_zone_holds_itself_and_what_is_below_it_by_labels() {
        let cases = [
            ("itself", "example.", "example.", true),
            ("below", "a.b.example.", "example.", true),
            ("in another case", "A.EXAMPLE.", "a.example.", true),
            ("the root holds everything", "example.", ".", true),
            ("a longer last label is another name", "badexample.", "example.", false),
            ("a dot inside a label is no separator", "a\\.example.", "example.", false),
            ("the parent is not below its child", "example.", "a.example.", false),
        ];

        for (why, inner, zone, expected) in cases {
            assert_eq!(name(inner).is_within(&name(zone)), expected, "{why}");
        }
    }

    #[test]
    fn text_forms_round_trip() {
        for text in
            [".", "example.", "a\\.b.example.", "\\000\\009x.example.", "_dns.\\\"q\\\".example."]
        {
            assert_eq!(name(text).to_string(), text);
        }
        assert_eq!(
            name("Example").to_string(),
            "Example.",
            "the last dot may be missing, the case stays"
        );
    }

    #[test]
    fn text_that_is_no_name_is_refused() {
        let cases = [
            ("", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a\\2", NameError::Escape),
            ("a\\999", NameError::Escape),
        ];

        for (text, expected) in cases {
            assert_eq!(text.parse::<Name<'_>>(), Err(expected), "{text:?}");
        }
        assert_eq!("a".repeat(64).parse::<Name<'_>>(), Err(NameError::LabelTooLong));
        assert_eq!(
            format!("{}x", "abcdefg.".repeat(32)).parse::<Name<'_>>(),
            Err(NameError::TooLong)
        );
    }
}

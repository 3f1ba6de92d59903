//! What people want to know of a certificate: its common name and when it is valid (RFC 5280 section 4.1).
//!
//! Only reads the fields in place. Nothing here decides about trust: [`super::verifier`] does, and the
//! certificates that end up in a metric or report have passed it.

use jiff::{Timestamp, civil::DateTime, tz::Offset};

use super::pins::{self, Pin};

/// The fields of one certificate that are shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// The common name of the subject, when there is one in text.
    pub common_name: Option<String>,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// The pin of its key.
    pub pin: Pin,
}

impl Certificate {
    /// Reads a certificate in DER; `None` when it has not the shape of one.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (certificate, _) = Element::read(der)?;
        let (to_be_signed, _) = Element::read(certificate.content)?;
        let mut fields = Elements(to_be_signed.content);
        let first = fields.next()?;
        // The version is absent in version 1; then the serial number comes first.
        if first.tag == EXPLICIT_0 {
            fields.next()?;
        }
        let [_algorithm, _issuer, validity, subject, key] = fields.take_array()?;
        let [not_before, not_after] = Elements(validity.content).take_array()?;
        Some(Self {
            common_name: common_name(subject.content),
            not_before: time(not_before)?,
            not_after: time(not_after)?,
            pin: pins::of_spki(key.whole),
        })
    }
}

/// The last common name in a subject: the most specific one.
fn common_name(subject: &[u8]) -> Option<String> {
    let attributes = Elements(subject).flat_map(|set| Elements(set.content));
    let values = attributes.filter_map(|attribute| {
        let [oid, value] = Elements(attribute.content).take_array()?;
        (oid.content == COMMON_NAME).then(|| String::from_utf8_lossy(value.content).into_owned())
    });
    values.last()
}

/// Reads a UTCTime or GeneralizedTime in the form of RFC 5280 section 4.1.2.5.
fn time(element: Element<'_>) -> Option<Timestamp> {
    let text = std::str::from_utf8(element.content).ok()?;
    let (year, rest) = text.split_at_checked(if element.tag == UTC_TIME { 2 } else { 4 })?;
    let year = match (year.parse::<i16>().ok()?, element.tag) {
        (short @ 50.., UTC_TIME) => 1900 + short,
        (short, UTC_TIME) => 2000 + short,
        (year, _) => year,
    };
    let field = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let (month, day) = (field(0)?, field(2)?);
    let (hour, minute, second) = (field(4)?, field(6)?, field(8)?);
    let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    Offset::UTC.to_timestamp(time).ok()
}

const EXPLICIT_0: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
/// The object identifier 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

/// One element of DER.
#[derive(Clone, Copy)]
struct Element<'d> {
    tag: u8,
    content: &'d [u8],
    whole: &'d [u8],
}

impl<'d> Element<'d> {
    /// Reads the first element, and what follows it.
    fn read(input: &'d [u8]) -> Option<(Self, &'d [u8])> {
        let (&tag, rest) = input.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            ..=0x7f => (usize::from(first), rest),
            // Longer forms would be longer than any certificate.
            0x81..=0x84 => {
                let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (octets.iter().fold(0, |len, &octet| len << 8 | usize::from(octet)), rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(len)?;
        let whole = input.get(..input.len() - after.len())?;
        Some((Self { tag, content, whole }, after))
    }
}

/// The elements of a sequence or set, up to the first that is none.
struct Elements<'d>(&'d [u8]);

impl<'d> Elements<'d> {
    fn take_array<const N: usize>(&mut self) -> Option<[Element<'d>; N]> {
        let elements: Vec<_> = self.take(N).collect();
        elements.try_into().ok()
    }
}

impl<'d> Iterator for Elements<'d> {
    type Item = Element<'d>;

    fn next(&mut self) -> Option<Element<'d>> {
        let (element, rest) = Element::read(self.0)?;
        self.0 = rest;
        Some(element)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::date_time_ymd;

    use super::*;
    use crate::upstream::testing::Authority;

    #[test]
    fn the_fields_of_a_certificate_are_read() {
        let identity = Authority::new("the lab's").issue_with(&["dns.example"], |params| {
            (params.not_before, params.not_after) =
                (date_time_ymd(1999, 12, 31), date_time_ymd(2050, 2, 28));
        });

        let certificate = Certificate::read(&identity.chain[0]).unwrap();

        assert_eq!(certificate.common_name.as_deref(), Some("resolver under test"));
        assert_eq!(certificate.not_before.to_string(), "1999-12-31T00:00:00Z", "as UTCTime");
        assert_eq!(certificate.not_after.to_string(), "2050-02-28T00:00:00Z", "as GeneralizedTime");
        assert_eq!(certificate.pin, identity.pin);
    }

    #[test]
    fn no_part_of_a_certificate_is_one() {
        let certificate = Authority::new("the lab's").certificate;
        for end in 0..certificate.len() {
            assert_eq!(Certificate::read(&certificate[..end]), None, "the first {end} octets");
        }
    }

    proptest! {
        #[test]
        fn octets_from_anywhere_are_read_without_harm(octets: Vec<u8>, at in 0_usize..400, new: u8) {
            let _ = Certificate::read(&octets);
            let mut certificate = Authority::new("the lab's").certificate.to_vec();
            if let Some(octet) = certificate.get_mut(at) {
                *octet = new;
            }
            let _ = Certificate::read(&certificate);
        }
    }
}

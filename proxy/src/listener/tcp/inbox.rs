//! Octets of a client that wait to become whole messages.

/// The longest message with its length in front (RFC 1035 section 4.2.2).
const MAX_FRAME: usize = 2 + 65_535;

/// What was read, and how much of it was taken. What was taken goes when little has to be moved for it, so that
/// taking one of many messages does not move all the others.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    octets: Vec<u8>,
    taken: usize,
}

impl Inbox {
    /// Where what is read is appended.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }

    /// Whether more may be appended: the longest message fits.
    pub(super) fn has_room(&self) -> bool {
        self.rest().len() < MAX_FRAME
    }

    /// Takes the next message; `None` when none is whole.
    pub(super) fn take(&mut self) -> Option<&[u8]> {
        let Some(len) = first_len(self.rest()) else {
            self.tidy();
            return None;
        };
        let start = self.taken + 2;
        self.taken = start + len;
        self.octets.get(start..self.taken)
    }

    /// What it takes in memory.
    pub(super) fn capacity(&self) -> usize {
        self.octets.capacity()
    }

    fn rest(&self) -> &[u8] {
        self.octets.get(self.taken..).unwrap_or_default()
    }

    fn tidy(&mut self) {
        if self.rest().is_empty() {
            // An idle connection holds no buffer.
            *self = Self::default();
        } else if self.taken >= self.rest().len() {
            self.octets.drain(..self.taken);
            self.taken = 0;
        }
    }
}

/// The length of the first message, when all of it is there.
fn first_len(octets: &[u8]) -> Option<usize> {
    let (len, rest) = octets.split_first_chunk::<2>()?;
    let len = usize::from(u16::from_be_bytes(*len));
    (len <= rest.len()).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
    }

    #[test]
    fn messages_come_out_whole_and_in_order_however_they_came_in() {
        let messages: Vec<Vec<u8>> =
            (0..200_u8).map(|number| vec![number; usize::from(number) * 7]).collect();
        let stream: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();

        for piece in [1, 2, 3, 100, 4096, stream.len()] {
            let (mut inbox, mut taken) = (Inbox::default(), Vec::new());
            for octets in stream.chunks(piece) {
                inbox.end().extend_from_slice(octets);
                while let Some(message) = inbox.take() {
                    taken.push(message.to_vec());
                }
            }
            assert_eq!(taken, messages, "in pieces of {piece}");
            assert_eq!(inbox.octets.capacity(), 0, "an empty one holds no memory");
        }
    }

    #[test]
    fn taking_one_message_moves_no_other() {
        let mut inbox = Inbox::default();
        inbox.end().extend_from_slice(&framed(&[7; 10]).repeat(1000));
        let (before, len) = (inbox.octets.as_ptr(), inbox.octets.len());

        for _ in 0..999 {
            assert_eq!(inbox.take(), Some(&[7; 10][..]));
            assert_eq!((inbox.octets.as_ptr(), inbox.octets.len()), (before, len));
        }
    }

    #[test]
    fn what_was_taken_does_not_pile_up() {
        let mut inbox = Inbox::default();
        for _ in 0..10_000 {
            // Never at the end of a message, so that it is never empty.
            inbox.end().extend_from_slice(&[0, 3, 1, 2, 3, 0]);
            assert_eq!(inbox.take(), Some(&[1, 2, 3][..]));
            assert_eq!(inbox.take(), None);
            inbox.end().extend_from_slice(&[3, 1, 2, 3, 0, 3, 1, 2]);
            assert_eq!(inbox.take(), Some(&[1, 2, 3][..]));
            assert_eq!(inbox.take(), None);
            inbox.end().push(3);
            assert_eq!(inbox.take(), Some(&[1, 2, 3][..]));
        }
        assert!(inbox.octets.len() < 100, "{}", inbox.octets.len());
    }
}

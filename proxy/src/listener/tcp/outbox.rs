//! Replies that a client has not taken yet.

/// Replies in a row, each with its length in front (RFC 1035 section 4.2.2).
///
/// What was taken goes, even if the client never takes everything: memory is bounded by what is unsent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    octets: Vec<u8>,
    sent: usize,
}

/// Octets that were taken are let go in pieces of this size, so that a long row is not moved for each write.
const COMPACTED: usize = 64 << 10;

impl Outbox {
    /// Appends a reply. Length and message leave in one piece (RFC 7766 section 8).
    pub(super) fn push(&mut self, reply: &[u8]) {
        if let Ok(len) = u16::try_from(reply.len()) {
            self.octets.extend_from_slice(&len.to_be_bytes());
            self.octets.extend_from_slice(reply);
        }
    }

    /// What the client has not taken yet.
    pub(super) fn unsent(&self) -> &[u8] {
        self.octets.get(self.sent..).unwrap_or_default()
    }

    /// What it takes in memory.
    pub(super) fn capacity(&self) -> usize {
        self.octets.capacity()
    }

    /// The client has taken so many octets.
    pub(super) fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.unsent().is_empty() {
            // An idle connection holds no buffer.
            *self = Self::default();
        } else if self.sent >= COMPACTED {
            self.octets.drain(..self.sent);
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_never_takes_everything_does_not_make_it_grow() {
        let mut outbox = Outbox::default();
        outbox.push(&[7; 1000]);
        for _ in 0..10_000 {
            outbox.push(&[7; 1000]);
            outbox.advance(1002);
        }

        assert_eq!(outbox.unsent().len(), 1002);
        assert!(outbox.octets.len() <= COMPACTED + 2 * 1002, "{}", outbox.octets.len());
    }

    #[test]
    fn what_is_unsent_is_in_order_whatever_was_taken() {
        let mut outbox = Outbox::default();
        let mut taken = Vec::new();
        let mut pushed = Vec::new();
        for number in 0..3000_usize {
            let reply = vec![u8::try_from(number % 251).unwrap(); number % 97];
            pushed.extend_from_slice(&u16::try_from(reply.len()).unwrap().to_be_bytes());
            pushed.extend_from_slice(&reply);
            outbox.push(&reply);
            let count = outbox.unsent().len().min(number % 89);
            taken.extend_from_slice(&outbox.unsent()[..count]);
            outbox.advance(count);
        }
        taken.extend_from_slice(outbox.unsent());

        assert_eq!(taken, pushed);
    }

    #[test]
    fn an_empty_one_holds_no_memory() {
        let mut outbox = Outbox::default();
        outbox.push(&[7; 100]);
        outbox.advance(102);
        assert_eq!(outbox.octets.capacity(), 0);
    }
}

//! After how many answers a server closes its connections, which few tell (RFC 7766 section 6.2.3 leaves it to them).
//!
//! It is learnt from two connections in a row that were closed on questions after as many answers: one alone has another
//! reason, mostly. Whatever does not agree ends it.

use crate::upstream::connection::End;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    last: Option<usize>,
    /// How many answers the next connection is expected to bring.
    pub(super) expected: Option<usize>,
}

impl Cuts {
    /// A connection has ended.
    pub(super) fn note(&mut self, end: End) {
        match end {
            End::Cut { answered } => {
                self.expected = (self.last == Some(answered)).then_some(answered);
                self.last = Some(answered);
            }
            End::Refuted => *self = Self::default(),
            End::Other => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_learnt_from_two_ends_alike_and_forgotten_with_one_that_is_not() {
        let cut = |answered| End::Cut { answered };
        let cases = [
            // (how it ended, what is expected then)
            (cut(2), None),
            (End::Other, None),
            (cut(2), Some(2)),
            (cut(2), Some(2)),
            (End::Other, Some(2)),
            (cut(5), None),
            (cut(5), Some(5)),
            (End::Refuted, None),
            (cut(5), None),
        ];

        let mut cuts = Cuts::default();
        for (index, (end, expected)) in cases.into_iter().enumerate() {
            cuts.note(end);
            assert_eq!(cuts.expected, expected, "end {index}");
        }
    }
}

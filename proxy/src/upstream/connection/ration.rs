//! How many questions are out at a time with a server that closes its connections after so many answers.
//!
//! Few servers tell after how many (RFC 7766 section 6.2.3 leaves it to them), and what is sent behind the last answer is sent
//! in vain, and once more on the next connection: with hundreds that wait, hundreds for each answer. So a connection starts with
//! as many as the one before it answered until it was closed. Each answer beyond shows that there was another reason, and lets
//! more go: where there was, this is over after a few round trips.

/// How many questions may be out.
#[derive(Debug, Default)]
pub(super) struct Ration {
    /// How many answers the connection before gave.
    expected: Option<usize>,
    answered: usize,
}

impl Ration {
    /// Of a connection that is to bring so many answers, if that is known.
    pub(super) fn new(expected: Option<usize>) -> Self {
        Self { expected, answered: 0 }
    }

    pub(super) fn note_answer(&mut self) {
        self.answered += 1;
    }

    /// How many questions may wait for their answers at the moment; at least one.
    pub(super) fn size(&self) -> usize {
        match self.expected {
            None => usize::MAX,
            Some(expected) if self.answered < expected => expected - self.answered,
            Some(expected) => self.answered - expected + 1,
        }
    }

    /// Whether the connection has brought what it was expected to.
    pub(super) fn is_met(&self) -> bool {
        self.expected == Some(self.answered)
    }

    /// What the next connection is to bring, when the server has closed this one on questions, or has not.
    pub(super) fn after(&self, is_cut: bool) -> Option<usize> {
        match (is_cut, self.answered) {
            // It says nothing about answers.
            (true, 0) => self.expected,
            (true, answered) => Some(answered),
            (false, answered) => self.expected.filter(|expected| answered <= *expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_out_as_the_last_connection_answered_and_more_with_each_answer_beyond() {
        let cases = [
            // (expected, answered, may be out, why)
            (None, 0, usize::MAX, "nothing is known"),
            (None, 9, usize::MAX, "nothing is known"),
            (Some(1), 0, 1, "one answer is to come"),
            (Some(3), 0, 3, "three are"),
            (Some(3), 2, 1, "the last one is"),
            (Some(3), 3, 1, "whether there are more is to be seen"),
            (Some(3), 4, 2, "there are"),
            (Some(3), 10, 8, "many"),
        ];
        for (expected, answered, size, why) in cases {
            assert_eq!(Ration { expected, answered }.size(), size, "{why}");
        }
    }

    #[test]
    fn it_is_learnt_from_what_was_cut_and_forgotten_where_more_came() {
        let cases = [
            // (expected, answered, is cut, expected of the next, why)
            (None, 0, true, None, "closed because of a question, or for no reason"),
            (None, 2, true, Some(2), "closed after two"),
            (Some(2), 0, true, Some(2), "it says nothing new"),
            (Some(2), 5, true, Some(5), "it was more this time"),
            (Some(5), 2, true, Some(2), "it was less"),
            (None, 7, false, None, "it ended in peace"),
            (Some(2), 2, false, Some(2), "nobody asked more"),
            (Some(2), 3, false, None, "it has answered more"),
        ];
        for (expected, answered, is_cut, next, why) in cases {
            assert_eq!(Ration { expected, answered }.after(is_cut), next, "{why}");
        }
    }
}

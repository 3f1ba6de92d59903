//! How many questions are out at a time with a server that closes its connections after so many answers.
//!
//! What is sent behind the last answer is sent in vain, and once more on the next connection: with hundreds that wait, hundreds
//! for each answer. So a connection starts with as many as those before it brought. Each answer beyond shows that there was
//! another reason, and lets more go; and nobody is held back by silence, which ends it.

/// How many questions may be out.
#[derive(Debug, Default)]
pub(super) struct Ration {
    /// How many answers the connections before brought, where it is held to that.
    expected: Option<usize>,
    answered: usize,
    is_refuted: bool,
}

/// What the end of a connection says about how many answers the server gives on one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::upstream) enum End {
    /// The server closed it on questions, after so many answers.
    Cut { answered: usize },
    /// It is not about their number.
    Refuted,
    /// Nothing.
    Other,
}

impl Ration {
    /// Of a connection that is to bring so many answers, if that is known.
    pub(super) fn new(expected: Option<usize>) -> Self {
        Self { expected, ..Self::default() }
    }

    pub(super) fn note_answer(&mut self) {
        self.answered += 1;
        self.is_refuted |= self.expected.is_some_and(|expected| self.answered > expected);
    }

    /// Nothing comes: whatever the reason, those that wait for others have waited for nothing.
    pub(super) fn give_up(&mut self) {
        self.is_refuted |= self.expected.take().is_some();
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

    /// What its end says, where the server has closed it on questions, or has not.
    pub(super) fn end(&self, is_cut: bool) -> End {
        match (is_cut, self.answered) {
            (true, 0) => End::Refuted,
            _ if self.is_refuted => End::Refuted,
            (true, answered) => End::Cut { answered },
            (false, _) => End::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ration(expected: Option<usize>, answered: usize) -> Ration {
        let mut ration = Ration::new(expected);
        (0..answered).for_each(|_| ration.note_answer());
        ration
    }

    #[test]
    fn as_many_are_out_as_were_answered_before_and_more_with_each_answer_beyond() {
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
            assert_eq!(ration(expected, answered).size(), size, "{why}");
        }
        let mut silent = ration(Some(3), 1);
        silent.give_up();
        assert_eq!(silent.size(), usize::MAX, "nobody is held back by silence");
    }

    #[test]
    fn the_end_of_a_connection_says_how_many_answers_there_are_or_that_it_is_not_about_them() {
        let cases = [
            // (expected, answered, is cut, what it says, why)
            (None, 0, true, End::Refuted, "closed because of a question"),
            (None, 2, true, End::Cut { answered: 2 }, "closed after two"),
            (Some(2), 0, true, End::Refuted, "nothing is answered any more"),
            (Some(2), 5, true, End::Refuted, "it was more this time"),
            (Some(5), 2, true, End::Cut { answered: 2 }, "it was less"),
            (None, 7, false, End::Other, "it ended in peace"),
            (Some(2), 2, false, End::Other, "nobody asked more"),
            (Some(2), 3, false, End::Refuted, "it has answered more"),
        ];
        for (expected, answered, is_cut, end, why) in cases {
            assert_eq!(ration(expected, answered).end(is_cut), end, "{why}");
        }
        let mut silent = ration(Some(2), 1);
        silent.give_up();
        assert_eq!(silent.end(true), End::Refuted, "it was silent");
    }
}

//! What an answer is worth: whether it is one, and how much one that is none says.
//!
//! SERVFAIL and its like are answers of last resort, and of those the one is given that says most. The refusal to
//! give a forged answer is final (RFC 8914 section 4).

use crate::{
    message::{Layout, Rcode},
    upstream::pending::Response,
};

/// Whether no other server is asked: it is an answer, or the refusal to give a forged one, which must not be
/// shopped around until somebody gives it (RFC 8914 section 4).
pub(super) fn is_final(rcode: Rcode, Response { message, layout }: &Response) -> bool {
    rcode.is_answer()
        || layout
            .edns(message)
            .is_some_and(|edns| edns.extended_errors().any(|error| error.is_validation_failure()))
}

/// How much an answer that is none says: why the name has none, that it has none, that this server is not to be asked.
pub(super) fn worth(rcode: Rcode, layout: &Layout, message: &[u8]) -> u8 {
    let gives_reason =
        || layout.edns(message).is_some_and(|edns| edns.extended_errors().next().is_some());
    match rcode {
        Rcode::SERVFAIL if gives_reason() => 3,
        Rcode::SERVFAIL => 2,
        Rcode::REFUSED => 1,
        _ => 0,
    }
}

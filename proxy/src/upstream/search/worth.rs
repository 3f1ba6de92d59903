//! What an answer is worth: whether it is one, and how much one that is none says.
//!
//! SERVFAIL and its like are answers of last resort, and of those the one is given that says most. The refusal to
//! give a forged answer, or one that is blocked, is final (RFC 8914 section 4).

use crate::{
    message::{Layout, Rcode, edns::ExtendedError},
    upstream::pending::Response,
};

/// Whether no other server is asked: it is an answer, or the refusal to give one that is forged or blocked, which must not
/// be shopped around until somebody gives it (RFC 8914 section 4).
pub(super) fn is_final(rcode: Rcode, Response { message, layout }: &Response) -> bool {
    let is_decided = |error: ExtendedError| error.is_validation_failure() || error.is_block();
    rcode.is_answer()
        || layout.edns(message).is_some_and(|edns| edns.extended_errors().any(is_decided))
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

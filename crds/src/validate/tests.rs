//! Each rule, by what it refuses.

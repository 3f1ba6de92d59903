//! Support for the tests of the promises of the README.

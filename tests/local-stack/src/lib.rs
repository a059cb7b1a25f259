//! The servers that the service needs on one machine, and the identity provider that signs its tokens.
//!
//! The binary `stack` starts them for `make run` and `make test`; the tests start more of them on their own.

pub mod emulator;
pub mod endpoints;
pub mod front;
pub mod function_variables;
pub mod guard;
pub mod postgres;
pub mod scratch;
pub mod tokens;

//! The HTTP endpoints against whatever comes: requests near valid ones and far from them, and forged tokens.
//!
//! In process, because a process would be slow: from the JSON that Lambda's runtime hands over to the JSON that it posts,
//! with the real handlers on a real PostgreSQL.
//!
//! - [`service`]: the endpoints, and [`legal`], what any answer of theirs has to be;
//! - [`request`]: requests, made by strategies so that they shrink, of the [`parts`] they consist of; [`requests`] plays them;
//! - [`forgery`]: tokens near a valid one; [`random_tokens`] plays them.
//!
//! `FUZZ_CASES` plays more of both, `FUZZ_SEED` begins at another.

mod forgery;
mod legal;
mod parts;
mod random_tokens;
mod request;
mod requests;
mod service;

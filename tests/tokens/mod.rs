//! The library's token verification without any service around it: each of its three steps alone, the key sets, and
//! where they come from.
//!
//! - [`header`], [`signature`], [`claims`]: a table for each step, with the reason that the log is told;
//! - [`vectors`]: tokens that are printed in RFCs;
//! - [`key_sets`]: which keys a key set gives;
//! - [`key_source`]: when a key set is fetched, with a clock that the tests move, and [`fetching`]: how;
//! - [`providers`]: whole tokens of well-known identity providers, here with the functions around.

mod claims;
mod fetching;
mod header;
mod key_sets;
mod key_source;
mod providers;
mod signature;
mod vectors;

use flag_schedules::http::keys::KeySet;
use harness::tokens::Keys;
use serde_json::{Value, json};

/// A key set of these keys.
fn key_set(keys: &[Value]) -> KeySet {
    let text = json!({ "keys": keys }).to_string();
    KeySet::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The key set of one pair.
fn keys_of(keys: &Keys) -> KeySet {
    key_set(&[keys.jwk()])
}

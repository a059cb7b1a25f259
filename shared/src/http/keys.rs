//! JSON Web Key Sets: which key may verify which token.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use jsonwebtoken::jwk::{Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::problem::RETRY_AFTER_SECONDS;
use super::{algorithms, json};
use crate::domain::time::Timestamp;
use crate::error::{BoxError, chain};
use crate::ports::clock::Clock;
use crate::ports::key_server::KeyServer;

/// Minimum time between fetches once there are keys: made-up key ids must not trigger fetches.
pub const REFRESH_INTERVAL: TimeDelta = TimeDelta::seconds(60);
/// Minimum time between fetches while there are no keys. Every caller is rejected then, so a minute would turn a
/// hiccup during a cold start into a minute-long outage. It equals `Retry-After`, so a caller who waits that long
/// triggers a new attempt. Fetches are still bounded: one at a time, this far apart.
pub const FIRST_FETCH_INTERVAL: TimeDelta = TimeDelta::seconds(RETRY_AFTER_SECONDS as i64);

#[derive(Debug)]
pub enum KeySource {
    Inline(KeySet),
    Url(String),
}

/// Capacity of the verified-token cache: the number of admins active at a time.
const VERIFIED_CAPACITY: usize = 16;

/// A JSON Web Key Set (RFC 7517) of public signature keys.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Verified tokens, newest first. A token comes with every request for an hour, and verifying it again would take
    /// longer than everything else that a function does for a request.
    verified: Mutex<VecDeque<Fingerprint>>,
}

/// The SHA-256 of a whole token, so that no token is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Both in base64url.
    pub(super) fn of(message: &str, signature: &str) -> Self {
        let token = Sha256::new().chain_update(message).chain_update(".").chain_update(signature);
        Self(token.finalize().into())
    }
}

struct Key {
    id: String,
    /// As allowed by the key's type, curve and `alg`.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, PartialEq, Eq, Error)]
pub enum KeySetError {
    #[error("is not a key set; it must be a JSON object with `keys` (RFC 7517)")]
    NotAKeySet,
    #[error("holds a symmetric key; a key set must hold public keys only")]
    Symmetric,
    #[error(
        "holds no key with a `kid` for one of RS256/384/512, PS256/384/512, ES256/384 or EdDSA signatures"
    )]
    NoUsableKey,
}

impl KeySet {
    /// Skips keys for other uses or of unknown types, but rejects symmetric keys.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let value = json::parse(text).map_err(|_| KeySetError::NotAKeySet)?;
        let keys = value.get("keys").and_then(Value::as_array).ok_or(KeySetError::NotAKeySet)?;
        if keys.iter().any(|key| key["kty"] == "oct" || !key["k"].is_null()) {
            return Err(KeySetError::Symmetric);
        }
        let keys: Vec<_> = keys.iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey);
        }
        Ok(Self { keys, verified: Mutex::default() })
    }

    /// Ids need not be unique.
    pub fn find(&self, id: &str, algorithm: Algorithm) -> impl Iterator<Item = &DecodingKey> {
        let fits = move |key: &&Key| key.id == id && key.algorithms.contains(&algorithm);
        self.keys.iter().filter(fits).map(|key| &key.key)
    }

    pub(super) fn has_verified(&self, token: &Fingerprint) -> bool {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).contains(token)
    }

    pub(super) fn remember(&self, token: Fingerprint) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.truncate(VERIFIED_CAPACITY - 1);
        verified.push_front(token);
    }

    #[must_use]
    pub fn knows(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }
}

/// A key that may verify signatures: `use`, `key_ops` and `alg` must allow it or be absent.
fn usable(value: &Value) -> Option<Key> {
    let value = canonical(value)?;
    let jwk = Jwk::deserialize(&value).ok()?;
    let id = jwk.common.key_id.clone().filter(|id| !id.is_empty())?;
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    if jwk
        .common
        .key_operations
        .as_ref()
        .is_some_and(|operations| !operations.contains(&KeyOperations::Verify))
    {
        return None;
    }
    let mut algorithms = algorithms::of_key(&jwk.algorithm);
    if let Some(only) = value.get("alg") {
        let only = algorithms::named(only.as_str()?)?;
        algorithms.retain(|algorithm| *algorithm == only);
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (!algorithms.is_empty()).then_some(Key { id, algorithms, key })
}

/// What is needed of a key, with its numbers in the length that they must have (RFC 7518 sections 6.2.1.2 and 6.3.1.1): some
/// libraries put zero octets in front of them, or leave out those that belong there, and some write null for absent members.
/// `None` if one is no number of that length.
fn canonical(key: &Value) -> Option<Value> {
    const MEMBERS: [&str; 10] = ["kty", "kid", "use", "key_ops", "alg", "crv", "x", "y", "n", "e"];
    let members = MEMBERS.iter().filter_map(|name| Some(((*name).to_owned(), key.get(*name)?.clone())));
    let mut key: Value = members.filter(|(_, value)| !value.is_null()).collect();
    let (members, size) = match (key["kty"].as_str(), key["crv"].as_str()) {
        (Some("RSA"), _) => (["n", "e"], None),
        (Some("EC"), Some("P-256")) => (["x", "y"], Some(32)),
        (Some("EC"), Some("P-384")) => (["x", "y"], Some(48)),
        _ => return Some(key),
    };
    for member in members {
        let octets = URL_SAFE_NO_PAD.decode(key[member].as_str()?).ok()?;
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        let digits = &octets[zeros..];
        let mut number = vec![0; size.unwrap_or(digits.len()).checked_sub(digits.len())?];
        number.extend(digits);
        key[member] = URL_SAFE_NO_PAD.encode(number).into();
    }
    Some(key)
}

pub struct KeySetCache {
    current: RwLock<Option<Arc<KeySet>>>,
    server: Option<(String, Arc<dyn KeyServer>)>,
    /// Wall-clock time, because it advances while Lambda has frozen the environment; a monotonic clock may not.
    clock: Arc<dyn Clock>,
    /// Time of the last fetch. Locked during a fetch, so that only one is in flight.
    last_fetch: tokio::sync::Mutex<Option<Timestamp>>,
}

impl KeySetCache {
    /// Fetches nothing yet.
    #[must_use]
    pub fn new(source: KeySource, server: Arc<dyn KeyServer>, clock: Arc<dyn Clock>) -> Self {
        let (current, server) = match source {
            KeySource::Inline(set) => (Some(Arc::new(set)), None),
            KeySource::Url(url) => (None, Some((url, server))),
        };
        Self { current: RwLock::new(current), server, clock, last_fetch: tokio::sync::Mutex::default() }
    }

    /// The key set to look `id` up in, refetched if it does not contain `id`; `None` if there are no keys at all. A
    /// failed fetch leaves the current keys in place.
    pub async fn key_set_for(&self, id: &str) -> Option<Arc<KeySet>> {
        let known = self.current();
        if known.as_ref().is_some_and(|set| set.knows(id)) {
            return known;
        }
        let Some((url, server)) = &self.server else { return known };
        let mut last_fetch = self.last_fetch.lock().await;
        // Another request may have fetched while this one waited; then it is too soon to fetch again.
        let known = self.current();
        let interval = if known.is_some() { REFRESH_INTERVAL } else { FIRST_FETCH_INTERVAL };
        if last_fetch.is_some_and(|last| self.is_within(interval, last)) {
            return known;
        }
        // Set before the fetch, because the request may be cancelled meanwhile.
        *last_fetch = Some(self.clock.now());
        let fetched = fetch(server.as_ref(), url).await;
        // And after it, because requests that waited for a slow failure must not fetch one after another.
        *last_fetch = Some(self.clock.now());
        match fetched {
            Ok(set) => {
                let set = Arc::new(set);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&set));
                Some(set)
            }
            Err(error) => {
                let error = chain(error.as_ref());
                tracing::error!(error, "the key set could not be fetched; the known keys go on");
                known
            }
        }
    }

    /// Whether `last` is less than `interval` ago. A clock that was set back since cannot tell, and must not delay
    /// new keys by as much as it was set back.
    fn is_within(&self, interval: TimeDelta, last: Timestamp) -> bool {
        (TimeDelta::zero()..interval).contains(&self.clock.now().since(last))
    }

    fn current(&self) -> Option<Arc<KeySet>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn fetch(server: &dyn KeyServer, url: &str) -> Result<KeySet, BoxError> {
    let text = server.fetch(url).await?;
    KeySet::parse(&text).map_err(|error| format!("what the key server sent {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &str = r#""kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#;

    fn set(extra: &str) -> Result<KeySet, KeySetError> {
        KeySet::parse(format!(r#"{{"keys":[{{{EC}{extra}}}]}}"#).as_bytes())
    }

    #[test]
    fn a_key_is_found_by_its_id_for_its_own_algorithm() {
        let set = set(r#","kid":"1","use":"sig","key_ops":["verify"],"alg":"ES256""#).unwrap();

        assert_eq!(set.find("1", Algorithm::ES256).count(), 1);
        assert!(set.find("1", Algorithm::ES384).next().is_none());
        assert!(set.find("1", Algorithm::RS256).next().is_none());
        assert!(set.find("2", Algorithm::ES256).next().is_none());
    }

    #[test]
    fn a_key_for_something_else_is_passed_over() {
        for extra in [
            "",
            r#","kid":"""#,
            r#","kid":"1","use":"enc""#,
            r#","kid":"1","key_ops":["encrypt"]"#,
            r#","kid":"1","alg":"ES384""#,
            r#","kid":"1","alg":"ECDH-ES""#,
        ] {
            assert_eq!(set(extra).err(), Some(KeySetError::NoUsableKey), "for {extra}");
        }
    }

    #[test]
    fn the_last_tokens_that_were_verified_are_remembered_each_by_all_of_it() {
        let set = set(r#","kid":"1""#).unwrap();
        let token = |number: usize| Fingerprint::of(&format!("header.claims{number}"), "signature");

        (0..=VERIFIED_CAPACITY).for_each(|number| set.remember(token(number)));

        assert!(!set.has_verified(&token(0)));
        assert!((1..=VERIFIED_CAPACITY).all(|number| set.has_verified(&token(number))));
        for (message, signature) in [
            ("header.claims1", "signaturE"),
            ("header.claims1", ""),
            ("header.claims", "1.signature"),
            ("header", "claims1.signature."),
        ] {
            assert!(!set.has_verified(&Fingerprint::of(message, signature)), "{message} {signature}");
        }
    }

    #[test]
    fn a_symmetric_key_spoils_the_set() {
        let text = format!(r#"{{"keys":[{{{EC},"kid":"1"}},{{"kty":"oct","kid":"2","k":"AAAA"}}]}}"#);

        assert_eq!(KeySet::parse(text.as_bytes()).err(), Some(KeySetError::Symmetric));
    }

    #[test]
    fn what_is_not_a_key_set_is_refused() {
        for text in ["", "<html>", "[]", "{}", r#"{"keys":{}}"#] {
            assert_eq!(KeySet::parse(text.as_bytes()).err(), Some(KeySetError::NotAKeySet), "for {text:?}");
        }
    }
}

//! Key sets: which key may verify which token.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use thiserror::Error;

use super::json;
use crate::error::chain;
use crate::ports::KeyServer;

/// A key set is fetched at most this often.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(60);

/// Where keys come from.
#[derive(Debug)]
pub enum KeySource {
    /// The key set itself.
    Inline(KeySet),
    /// An address to fetch it from.
    Url(String),
}

/// A JSON Web Key Set (RFC 7517) of public signature keys.
#[derive(Debug, Default)]
pub struct KeySet(Vec<Key>);

struct Key {
    id: String,
    /// What the key's type, curve and `alg` allow.
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

/// Why a key set cannot be used.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum KeySetError {
    /// Not a JSON object with an array `keys`.
    #[error("is not a key set; it must be a JSON object with `keys` (RFC 7517)")]
    NotAKeySet,
    /// A secret in a key set that should be public.
    #[error("holds a symmetric key; a key set must hold public keys only")]
    Symmetric,
    /// No key in it can be used.
    #[error(
        "holds no key with a `kid` for one of RS256/384/512, PS256/384/512, ES256/384 or EdDSA signatures"
    )]
    NoUsableKey,
}

impl KeySet {
    /// Reads a key set. Keys for other uses or of unknown types are passed over, symmetric keys are not.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let value = json::parse(text).map_err(|_| KeySetError::NotAKeySet)?;
        let keys = value.get("keys").and_then(Value::as_array).ok_or(KeySetError::NotAKeySet)?;
        if keys.iter().any(|key| key["kty"] == "oct" || key.get("k").is_some()) {
            return Err(KeySetError::Symmetric);
        }
        let keys: Vec<_> = keys.iter().filter_map(usable).collect();
        if keys.is_empty() { Err(KeySetError::NoUsableKey) } else { Ok(Self(keys)) }
    }

    /// The key of this id, for this algorithm.
    #[must_use]
    pub fn find(&self, id: &str, algorithm: Algorithm) -> Option<&DecodingKey> {
        self.0.iter().find(|key| key.id == id && key.algorithms.contains(&algorithm)).map(|key| &key.key)
    }

    /// Whether there is a key of this id.
    #[must_use]
    pub fn knows(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id == id)
    }
}

/// A key that may verify signatures; `use`, `key_ops` and `alg` must say so or say nothing.
fn usable(value: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
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
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => vec![
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => vec![Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => vec![Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            vec![Algorithm::EdDSA]
        }
        _ => return None,
    };
    if let Some(only) = value.get("alg") {
        let only = Algorithm::from_str(only.as_str()?).ok()?;
        algorithms.retain(|algorithm| *algorithm == only);
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (!algorithms.is_empty()).then_some(Key { id, algorithms, key })
}

/// The keys, wherever they come from.
pub struct Keys {
    current: RwLock<Option<Arc<KeySet>>>,
    server: Option<(String, Arc<dyn KeyServer>)>,
    /// When the last fetch began. Held while one is under way: one request in flight.
    last_fetch: tokio::sync::Mutex<Option<Instant>>,
}

impl Keys {
    /// Keys from this source; nothing is fetched yet.
    #[must_use]
    pub fn new(source: KeySource, server: Arc<dyn KeyServer>) -> Self {
        let (current, server) = match source {
            KeySource::Inline(set) => (Some(Arc::new(set)), None),
            KeySource::Url(url) => (None, Some((url, server))),
        };
        Self { current: RwLock::new(current), server, last_fetch: tokio::sync::Mutex::default() }
    }

    /// A key set to look this key id up in, fetched anew when it is not known; `None` when there is none at all.
    /// A fetch that fails leaves the keys as they are.
    pub async fn for_key(&self, id: &str) -> Option<Arc<KeySet>> {
        let known = self.current();
        if known.as_ref().is_some_and(|set| set.knows(id)) {
            return known;
        }
        let Some((url, server)) = &self.server else { return known };
        let mut last_fetch = self.last_fetch.lock().await;
        // Somebody else may have fetched it while this request waited.
        let known = self.current();
        let fresh = last_fetch.is_some_and(|last| last.elapsed() < REFRESH_INTERVAL);
        if fresh || known.as_ref().is_some_and(|set| set.knows(id)) {
            return known;
        }
        *last_fetch = Some(Instant::now());
        let fetched = server.fetch(url).await.map_err(|error| chain(error.as_ref())).and_then(|text| {
            KeySet::parse(&text).map_err(|error| format!("what the key server sent {error}"))
        });
        match fetched {
            Ok(set) => {
                let set = Arc::new(set);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&set));
                Some(set)
            }
            Err(error) => {
                tracing::error!(error, "the key set could not be fetched; the known keys go on");
                known
            }
        }
    }

    fn current(&self) -> Option<Arc<KeySet>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
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

        assert!(set.find("1", Algorithm::ES256).is_some());
        assert!(set.find("1", Algorithm::ES384).is_none());
        assert!(set.find("1", Algorithm::RS256).is_none());
        assert!(set.find("2", Algorithm::ES256).is_none());
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

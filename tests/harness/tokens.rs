//! Tokens of an identity provider that does not exist.
//!
//! They are put together and signed by hand, not with the library that the service verifies them with: so a test can
//! make every token that no library would.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Duration;
use serde_json::{Map, Value, json};

use crate::clock;

/// The `iss` of all tokens.
pub const ISSUER: &str = "https://id.example.test";
/// The `aud` of all tokens.
pub const AUDIENCE: &str = "flag-admin";

/// The key pair of the identity provider: ES256.
#[derive(Debug)]
pub struct Keys {
    pair: EcdsaKeyPair,
    kid: String,
}

impl Keys {
    /// A new key pair.
    pub fn generate() -> Self {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("the system has random numbers");
        Self { pair, kid: uuid::Uuid::new_v4().simple().to_string() }
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        // 0x04, then x and y, 32 bytes each.
        let (x, y) = point[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    /// The key set that the service is configured with.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// The ES256 signature of `input`.
    pub fn sign(&self, input: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(&SystemRandom::new(), input).expect("the system has random numbers");
        signature.as_ref().to_vec()
    }

    /// A valid token of an admin, to be changed by the test.
    pub fn token(&self) -> Token<'_> {
        let now = clock::now();
        let claims = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "admin-1",
            "email": "admin@example.test",
            "cognito:groups": ["admin"],
            "iat": now.timestamp(),
            "exp": (now + Duration::hours(1)).timestamp(),
        });
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": self.kid });
        Token { keys: self, header: object(header), claims: object(claims) }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => unreachable!("{other} is no object"),
    }
}

/// A token in the making.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    keys: &'a Keys,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Token<'_> {
    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a claim out.
    #[must_use]
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a parameter of the header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a parameter of the header out.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Another user id.
    #[must_use]
    pub fn user(self, id: &str) -> Self {
        self.claim("sub", id)
    }

    /// Other groups; none is no admin.
    #[must_use]
    pub fn groups(self, groups: &[&str]) -> Self {
        self.claim("cognito:groups", groups.to_vec())
    }

    /// Moves `exp`, relative to now.
    #[must_use]
    pub fn expires_in(self, time: Duration) -> Self {
        self.claim("exp", (clock::now() + time).timestamp())
    }

    /// The token, signed with the key pair whatever its header says.
    pub fn sign(&self) -> String {
        self.signed_by(|input| self.keys.sign(input))
    }

    /// The token with another signature, made from `header.claims`.
    pub fn signed_by(&self, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let segment =
            |part: &Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(part.clone()).to_string());
        compact(&segment(&self.header), &segment(&self.claims), sign)
    }

    /// The token with these claims as text, such as an object that has a name twice; signed with the key pair.
    pub fn with_raw_claims(&self, claims: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(Value::Object(self.header.clone()).to_string());
        compact(&header, &URL_SAFE_NO_PAD.encode(claims), |input| self.keys.sign(input))
    }
}

fn compact(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let input = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(sign(input.as_bytes()));
    format!("{input}.{signature}")
}

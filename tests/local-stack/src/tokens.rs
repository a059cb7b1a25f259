//! Tokens of an identity provider that does not exist.
//!
//! They are put together and signed by hand, not with the library that the service verifies them with: so a test can
//! make every token that no library would.

use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Duration;
use serde_json::{Map, Value, json};

use common::clock;

/// The `iss` of all tokens.
pub const ISSUER: &str = "https://id.example.test";
/// The `aud` of all tokens.
pub const AUDIENCE: &str = "flag-admin";

/// All algorithms that the service accepts.
pub const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// The key pair of the identity provider, used with one algorithm.
#[derive(Debug)]
pub struct Keys {
    pair: Pair,
    algorithm: &'static str,
    kid: String,
}

#[derive(Debug)]
enum Pair {
    Rsa(&'static RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// Key pairs of this kind are slow to make: there is one for all of a process.
fn rsa() -> &'static RsaKeyPair {
    static RSA: OnceLock<RsaKeyPair> = OnceLock::new();
    RSA.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("the system has random numbers"))
}

impl Keys {
    /// A new key pair for ES256, as most tests need one.
    pub fn generate() -> Self {
        Self::for_algorithm("ES256")
    }

    /// A key pair for one of [`ALGORITHMS`].
    pub fn for_algorithm(algorithm: &'static str) -> Self {
        let ec = |with| Pair::Ec(EcdsaKeyPair::generate(with).expect("the system has random numbers"));
        let pair = match algorithm {
            "RS256" => Pair::Rsa(rsa(), &RSA_PKCS1_SHA256),
            "RS384" => Pair::Rsa(rsa(), &RSA_PKCS1_SHA384),
            "RS512" => Pair::Rsa(rsa(), &RSA_PKCS1_SHA512),
            "PS256" => Pair::Rsa(rsa(), &RSA_PSS_SHA256),
            "PS384" => Pair::Rsa(rsa(), &RSA_PSS_SHA384),
            "PS512" => Pair::Rsa(rsa(), &RSA_PSS_SHA512),
            "ES256" => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
            "EdDSA" => Pair::Ed(Ed25519KeyPair::generate().expect("the system has random numbers")),
            other => panic!("there are no keys for {other}"),
        };
        Self { pair, algorithm, kid: uuid::Uuid::new_v4().simple().to_string() }
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Rsa(pair, _) => {
                let public: &PublicKey = pair.public_key();
                json!({
                    "kty": "RSA",
                    "n": encode(public.modulus().big_endian_without_leading_zero()),
                    "e": encode(public.exponent().big_endian_without_leading_zero()),
                })
            }
            Pair::Ec(pair) => {
                // 0x04, then x and y, of the same length.
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())})
            }
        };
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm);
        jwk["kid"] = json!(self.kid);
        jwk
    }

    /// The key set that the service is configured with.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// The signature of `input`.
    pub fn sign(&self, input: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, input, &mut signature).expect("the system has random numbers");
                signature
            }
            Pair::Ec(pair) => {
                pair.sign(&random, input).expect("the system has random numbers").as_ref().to_vec()
            }
            Pair::Ed(pair) => pair.sign(input).as_ref().to_vec(),
        }
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
        let header = json!({ "alg": self.algorithm, "typ": "JWT", "kid": self.kid });
        Token { keys: self, header: object(header), claims: object(claims) }
    }

    /// A token of any two texts, signed with the key pair.
    pub fn raw_token(&self, header: &str, claims: &str) -> String {
        compact(&URL_SAFE_NO_PAD.encode(header), &URL_SAFE_NO_PAD.encode(claims), |input| self.sign(input))
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => unreachable!("{other} is no object"),
    }
}

#[derive(Clone, Debug)]
pub struct Token<'a> {
    keys: &'a Keys,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Token<'_> {
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
        let header = Value::Object(self.header.clone()).to_string();
        self.keys.raw_token(&header, claims)
    }

    /// The token with this header as text; signed with the key pair.
    pub fn with_raw_header(&self, header: &str) -> String {
        self.keys.raw_token(header, &Value::Object(self.claims.clone()).to_string())
    }
}

fn compact(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let input = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(sign(input.as_bytes()));
    format!("{input}.{signature}")
}

//! The algorithms that a token may be signed with, each with the kind of key it needs: one list for tokens and key sets.
//!
//! Signatures by a private key only. With `none` anybody could sign, and with an HMAC whoever knows the verifier's key
//! could: RFC 8725 section 3.1.

use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};

/// What a key is, as far as that decides on its algorithms: `kty`, and `crv` where there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// RFC 7518 section 3.1, RFC 8037 section 3.1.
const ALGORITHMS: [(&str, Algorithm, KeyKind); 9] = [
    ("RS256", Algorithm::RS256, KeyKind::Rsa),
    ("RS384", Algorithm::RS384, KeyKind::Rsa),
    ("RS512", Algorithm::RS512, KeyKind::Rsa),
    ("PS256", Algorithm::PS256, KeyKind::Rsa),
    ("PS384", Algorithm::PS384, KeyKind::Rsa),
    ("PS512", Algorithm::PS512, KeyKind::Rsa),
    ("ES256", Algorithm::ES256, KeyKind::P256),
    ("ES384", Algorithm::ES384, KeyKind::P384),
    ("EdDSA", Algorithm::EdDSA, KeyKind::Ed25519),
];

/// The algorithm of this name, exactly as it is registered; `None` when it is not one of the allowed.
#[must_use]
pub fn named(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, ..)| *known == name).map(|(_, algorithm, _)| *algorithm)
}

/// The algorithms that a key can be used with; none for a key of another kind.
#[must_use]
pub fn of_key(key: &AlgorithmParameters) -> Vec<Algorithm> {
    let kind = match key {
        AlgorithmParameters::RSA(_) => KeyKind::Rsa,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => KeyKind::P256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => KeyKind::P384,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => KeyKind::Ed25519,
        _ => return Vec::new(),
    };
    ALGORITHMS.iter().filter(|(.., of)| *of == kind).map(|(_, algorithm, _)| *algorithm).collect()
}

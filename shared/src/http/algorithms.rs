//! Allowed signature algorithms and the key type of each, for tokens and key sets alike. Asymmetric only: with `none`
//! anyone could sign, and with an HMAC anyone who has the verification key could (RFC 8725 section 3.1).

use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};

/// A key's `kty`, and its `crv` where the algorithm depends on it.
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

/// Case-sensitive; `None` unless the algorithm is allowed.
#[must_use]
pub fn named(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, ..)| *known == name).map(|(_, algorithm, _)| *algorithm)
}

/// Empty for an unsupported key type.
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

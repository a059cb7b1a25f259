//! Which keys of a key set count: RFC 7517, and only what may verify a token's signature.

use flag_schedules::http::algorithms;
use flag_schedules::http::keys::{KeySet, KeySetError};
use harness::tokens::Keys;
use serde_json::{Value, json};

fn parse(keys: &Value) -> Result<KeySet, KeySetError> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

/// The key with a member changed; null leaves it out.
fn but(key: &Value, name: &str, value: &Value) -> Value {
    let mut key = key.clone();
    match value {
        Value::Null => key.as_object_mut().unwrap().remove(name),
        value => key.as_object_mut().unwrap().insert(name.to_owned(), value.clone()),
    };
    key
}

#[test]
fn a_key_that_says_nothing_against_it_counts() {
    let keys = Keys::generate();
    let algorithm = algorithms::named("ES256").unwrap();

    for (name, value) in [
        ("alg", json!(null)),
        ("use", json!(null)),
        ("key_ops", json!(["verify"])),
        ("key_ops", json!(["sign", "verify"])),
        ("x5t", json!("AAAA")),
        ("x5t", json!(5)),
        ("x5c", json!([1])),
        ("x5u", json!({})),
        ("d", json!(5)),
        ("n", json!(5)),
        ("anything", json!({"a": 1})),
    ] {
        let set = parse(&json!([but(&keys.jwk(), name, &value)]));
        assert!(set.is_ok_and(|set| set.find(keys.kid(), algorithm).count() == 1), "{name}: {value}");
    }
}

#[test]
fn a_key_for_something_else_is_passed_over() {
    let (keys, other) = (Keys::generate(), Keys::generate());
    let algorithm = algorithms::named("ES256").unwrap();

    for (name, value) in [
        ("kid", json!(null)),
        ("kid", json!("")),
        ("kid", json!(1)),
        ("use", json!("enc")),
        ("use", json!("SIG")),
        ("use", json!("")),
        ("use", json!(["sig"])),
        ("key_ops", json!([])),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!(["encrypt", "deriveKey"])),
        ("key_ops", json!("verify")),
        ("alg", json!("ES384")),
        ("alg", json!("RS256")),
        ("alg", json!("HS256")),
        ("alg", json!("none")),
        ("alg", json!("es256")),
        ("alg", json!("ECDH-ES")),
        ("alg", json!(["ES256"])),
        ("kty", json!("RSA")),
        ("kty", json!("OKP")),
        ("kty", json!("ec")),
        ("kty", json!(null)),
        ("crv", json!("P-384")),
        ("crv", json!("P-521")),
        ("crv", json!("secp256k1")),
        ("crv", json!("Ed25519")),
        ("crv", json!(null)),
        ("x", json!(null)),
        ("y", json!(null)),
        ("x", json!("not base64!")),
    ] {
        let unusable = but(&keys.jwk(), name, &value);

        assert_eq!(parse(&json!([unusable])).err(), Some(KeySetError::NoUsableKey), "{name}: {value}");
        let set = parse(&json!([unusable, "no key", null, other.jwk()])).unwrap();
        assert_eq!(set.find(keys.kid(), algorithm).count(), 0, "{name}: {value}");
        assert!(!set.knows(keys.kid()), "{name}: {value}");
        assert_eq!(set.find(other.kid(), algorithm).count(), 1, "the others go on: {name}: {value}");
    }
}

/// Without an `alg`, the curve alone says what a key is for.
#[test]
fn a_key_on_a_curve_of_no_algorithm_is_passed_over() {
    let coordinate = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE";
    for (kind, curve) in [
        ("EC", "P-521"),
        ("EC", "secp256k1"),
        ("EC", "Ed25519"),
        ("OKP", "Ed448"),
        ("OKP", "X25519"),
        ("OKP", "P-256"),
        ("OKP", "P-384"),
        ("OKP", "P-521"),
    ] {
        let key = json!({"kty": kind, "crv": curve, "kid": "1", "x": coordinate, "y": coordinate});
        assert_eq!(parse(&json!([key])).err(), Some(KeySetError::NoUsableKey), "{key}");
    }
    for (kind, curve) in [("EC", "P-256"), ("EC", "P-384"), ("OKP", "Ed25519")] {
        let key = json!({"kty": kind, "crv": curve, "kid": "1", "x": coordinate, "y": coordinate});
        assert!(parse(&json!([key])).is_ok(), "{key}");
    }
}

/// As libraries write them that know no other way to leave a member out.
#[test]
fn a_member_that_is_null_is_not_there() {
    let keys = Keys::generate();
    let mut key = keys.jwk();
    for member in ["alg", "use", "key_ops", "k", "n", "e", "d", "x5c", "x5t", "x5u", "crit"] {
        key[member] = Value::Null;
    }

    let set = parse(&json!([key])).unwrap();

    assert_eq!(set.find(keys.kid(), algorithms::named("ES256").unwrap()).count(), 1);
    for member in ["kid", "kty", "crv", "x", "y"] {
        let mut key = keys.jwk();
        key[member] = Value::Null;
        assert_eq!(parse(&json!([key])).err(), Some(KeySetError::NoUsableKey), "{member}");
    }
}

#[test]
fn a_key_set_can_be_logged() {
    let keys = Keys::generate();
    let key = keys.jwk();

    let logged = format!("{:?}", parse(&json!([key])).unwrap());

    assert!(logged.contains(keys.kid()), "{logged}");
    assert!(!logged.contains(key["x"].as_str().unwrap()), "{logged}");
}

#[test]
fn a_secret_in_a_key_set_spoils_it() {
    let good = Keys::generate().jwk();

    for secret in [
        json!({"kty": "oct", "kid": "2", "k": "AAAA"}),
        json!({"kty": "oct", "kid": "2"}),
        json!({"kty": "oct", "kid": "2", "k": "AAAA", "alg": "ES256", "use": "sig"}),
        json!({"kid": "2", "k": "AAAA"}),
        but(&good, "k", &json!("AAAA")),
    ] {
        assert_eq!(parse(&json!([good, secret])).err(), Some(KeySetError::Symmetric), "{secret}");
    }
}

#[test]
fn what_is_no_key_set_is_refused() {
    let key = Keys::generate().jwk();
    for text in [
        String::new(),
        "<!doctype html>".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"keys":{}}"#.to_owned(),
        key.to_string(),
        format!("[{key}]"),
        format!(r#"{{"keys":[{key}],"keys":[]}}"#),
        format!(r#"{{"keys":[{key}]"#),
        r#"{"keys":[{"kid":"1","kid":"2"}]}"#.to_owned(),
    ] {
        assert_eq!(KeySet::parse(text.as_bytes()).err(), Some(KeySetError::NotAKeySet), "{text}");
    }
    assert_eq!(parse(&json!([])).err(), Some(KeySetError::NoUsableKey));
}

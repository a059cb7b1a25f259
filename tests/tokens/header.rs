//! Step one: which headers are acceptable, whoever has signed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use flag_schedules::http::token::check_header;
use harness::tokens::{ALGORITHMS, Keys};
use serde_json::{Value, json};

/// 8 KiB.
const MAX_TOKEN_BYTES: usize = 8_192;

const TOO_LONG: &str = "the token is too long";
const SEGMENTS: &str = "the token is not three segments";
const NO_OBJECT: &str = "the header is not a JSON object in base64url";
const WRONG_TYPE: &str = "the header lacks `alg`, or a parameter has the wrong type";
const BRINGS_A_KEY: &str = "the header has one of crit, jku, jwk, x5u, x5c, zip";
const TYP: &str = "the header's `typ` is neither JWT nor at+jwt";
const ALG: &str = "the header's `alg` is not allowed";
const NO_KID: &str = "the header has no `kid`";

/// A token with this first segment.
fn with_segment(header: impl AsRef<str>) -> String {
    format!("{}.e30.AAAA", header.as_ref())
}

/// A token with this text as its header.
fn with_text(header: impl AsRef<[u8]>) -> String {
    with_segment(URL_SAFE_NO_PAD.encode(header))
}

/// A token with a good header but for these parameters; null leaves one out.
fn but(parameters: Value) -> String {
    let mut header = json!({"alg": "ES256", "kid": "1", "typ": "JWT"});
    for (name, value) in parameters.as_object().into_iter().flatten() {
        match value {
            Value::Null => header.as_object_mut().and_then(|header| header.remove(name)),
            value => header.as_object_mut().and_then(|header| header.insert(name.clone(), value.clone())),
        };
    }
    with_text(header.to_string())
}

/// A good token of this length.
fn of_length(bytes: usize) -> String {
    let token = but(json!({}));
    let missing = bytes - token.len();
    token.replace(".e30.", &format!(".e30{}.", "A".repeat(missing)))
}

#[test]
fn a_header_with_what_is_needed_and_nothing_more_is_accepted() {
    let mut good = vec![
        ("as usual", but(json!({}))),
        ("no typ", but(json!({"typ": null}))),
        ("typ of an access token", but(json!({"typ": "at+jwt"}))),
        ("typ of an access token in full", but(json!({"typ": "application/at+jwt"}))),
        ("typ in full, in another case", but(json!({"typ": "Application/JWT"}))),
        ("typ in another case", but(json!({"typ": "jwt"}))),
        ("typ of an access token in another case", but(json!({"typ": "AT+JWT"}))),
        ("a parameter that asks for nothing", but(json!({"x5t": "AAAA", "anything": {"a": 1}}))),
        ("blanks in the JSON", with_text(r#" { "alg" : "ES256" , "kid" : "1" } "#)),
        ("exactly the longest", of_length(MAX_TOKEN_BYTES)),
    ];
    good.extend(ALGORITHMS.map(|algorithm| (algorithm, but(json!({"alg": algorithm})))));

    for (case, token) in good {
        let checked = check_header(&token);
        assert_eq!(checked.as_ref().err(), None, "{case}");
        assert_eq!(checked.unwrap().key_id, "1", "{case}");
    }
}

#[test]
fn what_is_signed_and_by_which_key_is_read_from_the_token() {
    let keys = Keys::for_algorithm("EdDSA");
    let token = keys.token().sign();

    let unverified = check_header(&token).unwrap();

    let segments: Vec<&str> = token.split('.').collect();
    assert_eq!(format!("{:?}", unverified.algorithm), "EdDSA");
    assert_eq!(unverified.key_id, keys.kid());
    assert_eq!(unverified.message, segments[..2].join("."));
    assert_eq!(unverified.payload, segments[1]);
    assert_eq!(unverified.signature, segments[2]);
}

#[test]
fn every_other_header_is_refused_for_its_own_reason() {
    let good = r#"{"alg":"ES256","kid":"1"}"#;
    let good_segment = URL_SAFE_NO_PAD.encode(good);
    let with_spare_bits = URL_SAFE_NO_PAD.encode(format!("{good} "));
    // Of 26 bytes the last character holds four bits that mean nothing: zero, if it is canonical.
    let not_canonical = format!("{}B", with_spare_bits.strip_suffix('A').unwrap());
    let with_padding = URL_SAFE.encode(format!("{good} "));
    let not_utf_8 = [&br#"{"alg":"ES256","kid":""#[..], b"\xff", br#""}"#].concat();
    let mut bad = vec![
        (TOO_LONG, "one byte too long", of_length(MAX_TOKEN_BYTES + 1)),
        (TOO_LONG, "a megabyte", "x".repeat(1024 * 1024)),
        (SEGMENTS, "nothing", String::new()),
        (SEGMENTS, "one segment", good_segment.clone()),
        (SEGMENTS, "two segments", format!("{good_segment}.e30")),
        (SEGMENTS, "four segments", format!("{good_segment}.e30.AAAA.AAAA")),
        (SEGMENTS, "five segments", format!("{good_segment}.e30.AAAA.AAAA.AAAA")),
        (NO_OBJECT, "nothing but dots", "..".to_owned()),
        (NO_OBJECT, "not base64", with_segment("{}")),
        (NO_OBJECT, "base64 with padding", with_segment(&with_padding)),
        (NO_OBJECT, "other bits than zero left over", with_segment(&not_canonical)),
        (
            NO_OBJECT,
            "the alphabet of base64",
            with_segment(STANDARD.encode(r#"{"alg":"ES256","kid":"~~?>"}"#)),
        ),
        (NO_OBJECT, "a line break", with_segment(format!("{good_segment}\n"))),
        (NO_OBJECT, "not JSON", with_text("alg=ES256")),
        (NO_OBJECT, "an array", with_text("[]")),
        (NO_OBJECT, "a text", with_text(r#""alg""#)),
        (NO_OBJECT, "two objects", with_text(format!("{good}{good}"))),
        (NO_OBJECT, "not UTF-8", with_text(not_utf_8)),
        (NO_OBJECT, "alg twice", with_text(r#"{"alg":"none","alg":"ES256","kid":"1"}"#)),
        (NO_OBJECT, "kid twice, once escaped", with_text(r#"{"alg":"ES256","kid":"1","k\u0069d":"2"}"#)),
        (NO_OBJECT, "nested too deep", with_text("[".repeat(5_000))),
        (WRONG_TYPE, "no alg", but(json!({"alg": null}))),
        (WRONG_TYPE, "alg null", with_text(r#"{"alg":null,"kid":"1"}"#)),
        (WRONG_TYPE, "alg in an array", but(json!({"alg": ["ES256"]}))),
        (WRONG_TYPE, "kid a number", but(json!({"kid": 1}))),
        (WRONG_TYPE, "typ a number", but(json!({"typ": 1}))),
        (WRONG_TYPE, "typ null", with_text(r#"{"alg":"ES256","kid":"1","typ":null}"#)),
        (NO_KID, "no kid", but(json!({"kid": null}))),
        (NO_KID, "kid null", with_text(r#"{"alg":"ES256","kid":null}"#)),
    ];
    for alg in [
        "none", "None", "NONE", "", " ES256", "es256", "HS256", "HS384", "HS512", "ES512", "ES256K",
        "Ed25519", "Ed448", "RSA-OAEP", "dir",
    ] {
        bad.push((ALG, alg, but(json!({"alg": alg}))));
    }
    for name in ["crit", "jku", "jwk", "x5u", "x5c", "zip"] {
        for value in ["null", "[]", "{}", r#""""#, r#""x""#, "false"] {
            bad.push((
                BRINGS_A_KEY,
                name,
                with_text(format!(r#"{{"alg":"ES256","kid":"1","{name}":{value}}}"#)),
            ));
        }
    }
    for typ in [
        "",
        "JWE",
        "JOSE",
        "at+jwt ",
        "dpop+jwt",
        "secevent+jwt",
        "application/json",
        "application/",
        "application/application/jwt",
    ] {
        bad.push((TYP, typ, but(json!({"typ": typ}))));
    }

    for (reason, case, token) in bad {
        assert_eq!(check_header(&token).map_err(|error| error.0).err(), Some(reason), "{case}: {token:.200}");
    }
}

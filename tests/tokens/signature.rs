//! Step two: whose signature counts, by every algorithm with a real key.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use flag_schedules::http::algorithms;
use flag_schedules::http::keys::KeySet;
use flag_schedules::http::token::{check_header, check_signature};
use harness::tokens::{ALGORITHMS, Keys};
use serde_json::{Value, json};

use super::{key_set, keys_of};

const NO_KEY: &str = "no key of this `kid` for this `alg` in the key set";
const NOT_SIGNED: &str = "the signature does not verify";

/// What step two says of a token whose header is good.
fn judge(token: &str, keys: &KeySet) -> Result<(), &'static str> {
    let unverified = check_header(token).unwrap_or_else(|error| panic!("{error}: {token}"));
    check_signature(&unverified, keys).map(|_| ()).map_err(|error| error.0)
}

/// The token with another signature in base64url.
fn with_signature(token: &str, signature: &str) -> String {
    let (message, _) = token.rsplit_once('.').unwrap();
    format!("{message}.{signature}")
}

#[test]
fn a_signature_counts_by_every_allowed_algorithm() {
    for algorithm in ALGORITHMS {
        let keys = Keys::for_algorithm(algorithm);
        let token = keys.token().sign();

        assert_eq!(judge(&token, &keys_of(&keys)), Ok(()), "{algorithm}");
    }
}

#[test]
fn what_was_verified_counts_for_no_other_keys() {
    let (keys, others) = (Keys::generate(), Keys::generate());
    let set = keys_of(&keys);
    let token = keys.token().sign();
    assert_eq!(judge(&token, &set), Ok(()));
    assert_eq!(judge(&token, &set), Ok(()), "the second time");

    let mut renewed = others.jwk();
    renewed["kid"] = json!(keys.kid());
    assert_eq!(judge(&token, &key_set(&[renewed])), Err(NOT_SIGNED), "another key of the same name");
    assert_eq!(judge(&token, &keys_of(&others)), Err(NO_KEY));
}

#[test]
fn a_changed_token_or_signature_is_refused_by_every_algorithm() {
    for algorithm in ALGORITHMS {
        let keys = Keys::for_algorithm(algorithm);
        let set = keys_of(&keys);
        let token = keys.token().sign();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let other = keys.token().user("somebody-else").sign();
        let (other_message, _) = other.rsplit_once('.').unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = bytes.clone();
            change(&mut bytes);
            with_signature(&token, &URL_SAFE_NO_PAD.encode(bytes))
        };
        let bad = [
            ("other claims", format!("{other_message}.{signature}")),
            ("the first bit", changed(&|bytes| bytes[0] ^= 0x80)),
            ("the last bit", changed(&|bytes| *bytes.last_mut().unwrap() ^= 1)),
            ("one byte less", changed(&|bytes| bytes.truncate(bytes.len() - 1))),
            ("one byte more", changed(&|bytes| bytes.push(0))),
            ("a zero in front", changed(&|bytes| bytes.insert(0, 0))),
            ("zeros", changed(&|bytes| bytes.fill(0))),
            ("ones", changed(&|bytes| bytes.fill(0xff))),
            ("nothing", format!("{message}.")),
            (
                "of the claims alone",
                with_signature(&token, &{
                    let claims = message.rsplit_once('.').unwrap().1;
                    URL_SAFE_NO_PAD.encode(keys.sign(claims.as_bytes()))
                }),
            ),
        ];

        assert_eq!(judge(&token, &set), Ok(()), "{algorithm}");
        for (case, token) in bad {
            assert_eq!(judge(&token, &set), Err(NOT_SIGNED), "{algorithm}, {case}");
        }
    }
}

#[test]
fn a_signature_has_one_spelling() {
    for algorithm in ALGORITHMS {
        let keys = Keys::for_algorithm(algorithm);
        let set = keys_of(&keys);
        // One in which the two alphabets differ is soon found.
        let bytes = |token: &str| URL_SAFE_NO_PAD.decode(token.rsplit_once('.').unwrap().1).unwrap();
        let differs = |token: &String| STANDARD.encode(bytes(token)).contains(['+', '/']);
        let mut tokens = (0..1_000).map(|number| keys.token().user(&number.to_string()).sign());
        let token = tokens.find(differs).expect("a thousand signatures with neither of two characters");
        let (_, signature) = token.rsplit_once('.').unwrap();
        let mut spellings = vec![
            ("too much padding", format!("{signature}====")),
            ("the alphabet of base64", STANDARD.encode(bytes(&token)).replace('=', "")),
            ("a line break", format!("{signature}\n")),
            ("a blank", format!(" {signature}")),
        ];
        // 96 bytes are 128 characters without anything left over.
        if algorithm != "ES384" {
            spellings.push(("padding", URL_SAFE.encode(bytes(&token))));
            spellings.push(("other bits than zero left over", next_character(signature)));
        }

        assert_eq!(judge(&token, &set), Ok(()), "{algorithm}");
        for (case, spelling) in spellings {
            assert_ne!(spelling, signature, "{algorithm}, {case}");
            let token = with_signature(&token, &spelling);
            assert_eq!(judge(&token, &set), Err(NOT_SIGNED), "{algorithm}, {case}");
        }
    }
}

/// With the next character of the alphabet as its last: where bits are left over, it decodes to the same bytes.
fn next_character(base64: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (start, last) = base64.split_at(base64.len() - 1);
    let at = ALPHABET.find(last).unwrap();
    format!("{start}{}", &ALPHABET[at + 1..at + 2])
}

#[test]
fn only_the_key_that_the_header_names_counts() {
    let (first, second) = (Keys::generate(), Keys::generate());
    let both = key_set(&[first.jwk(), second.jwk()]);

    assert_eq!(judge(&first.token().sign(), &both), Ok(()));
    assert_eq!(judge(&second.token().sign(), &both), Ok(()));
    let swapped = first.token().header("kid", second.kid()).sign();
    assert_eq!(judge(&swapped, &both), Err(NOT_SIGNED), "a key of the set, but not the one that is named");
    for kid in ["", "other", &first.kid().to_uppercase(), &format!("{} ", first.kid())] {
        assert_eq!(judge(&first.token().header("kid", kid).sign(), &both), Err(NO_KEY), "{kid:?}");
    }
}

#[test]
fn a_key_counts_only_for_the_algorithms_of_its_kind_and_for_its_own() {
    for of_key in ALGORITHMS {
        let keys = Keys::for_algorithm(of_key);
        let mut jwk = keys.jwk();
        let with_alg = key_set(std::slice::from_ref(&jwk));
        jwk.as_object_mut().unwrap().remove("alg");
        let without_alg = key_set(&[jwk]);

        for of_token in ALGORITHMS {
            let algorithm = algorithms::named(of_token).unwrap();
            let same_kind = of_key == of_token || (is_rsa(of_key) && is_rsa(of_token));

            let found = with_alg.find(keys.kid(), algorithm).count() == 1;
            assert_eq!(found, of_key == of_token, "a key for {of_key}, a token by {of_token}");
            let found = without_alg.find(keys.kid(), algorithm).count() == 1;
            assert_eq!(found, same_kind, "a key that fits {of_key}, a token by {of_token}");
            if of_key != of_token {
                let token = keys.token().header("alg", of_token).sign();
                assert_eq!(
                    judge(&token, &with_alg),
                    Err(NO_KEY),
                    "a key for {of_key}, a token by {of_token}"
                );
                let reason = if same_kind { NOT_SIGNED } else { NO_KEY };
                assert_eq!(
                    judge(&token, &without_alg),
                    Err(reason),
                    "signed by {of_key}, said to be {of_token}"
                );
            }
        }
    }
}

fn is_rsa(algorithm: &str) -> bool {
    algorithm.starts_with("RS") || algorithm.starts_with("PS")
}

#[test]
fn of_two_keys_with_one_id_the_one_that_fits_the_algorithm_counts() {
    let (ec, ed) = (Keys::for_algorithm("ES256"), Keys::for_algorithm("EdDSA"));
    let mut jwk = ed.jwk();
    jwk["kid"] = json!(ec.kid());
    let set = key_set(&[ec.jwk(), jwk]);

    assert_eq!(judge(&ec.token().sign(), &set), Ok(()));
    assert_eq!(judge(&ed.token().header("kid", ec.kid()).sign(), &set), Ok(()));
}

#[test]
fn a_key_that_is_too_small_or_no_point_of_its_curve_verifies_nothing() {
    let keys = Keys::generate();
    let mut off_curve = keys.jwk();
    off_curve["y"] = off_curve["x"].clone();
    let mut short = keys.jwk();
    short["x"] = json!("AAAA");
    let rsa = Keys::for_algorithm("RS256");
    let mut small = rsa.jwk();
    small["n"] = json!(URL_SAFE_NO_PAD.encode([0xc1; 128]));

    assert_eq!(judge(&keys.token().sign(), &key_set(&[off_curve])), Err(NOT_SIGNED));
    assert_eq!(judge(&keys.token().sign(), &key_set(&[short])), Err(NOT_SIGNED));
    assert_eq!(judge(&rsa.token().sign(), &key_set(&[small])), Err(NOT_SIGNED), "RSA with 1024 bits");
}

/// The key with zero octets in front of one of its numbers, or without those that are there.
fn respelled(key: &Value, member: &str, zeros: usize) -> Value {
    let number = URL_SAFE_NO_PAD.decode(key[member].as_str().unwrap()).unwrap();
    let digits = number.iter().position(|octet| *octet != 0).unwrap();
    let mut octets = vec![0; zeros];
    octets.extend(&number[digits..]);
    let mut key = key.clone();
    key[member] = json!(URL_SAFE_NO_PAD.encode(octets));
    key
}

#[test]
fn a_key_counts_with_any_number_of_zeros_in_front_of_its_numbers() {
    for (algorithm, members) in
        [("RS256", ["n", "e"]), ("PS512", ["n", "e"]), ("ES256", ["x", "y"]), ("ES384", ["x", "y"])]
    {
        let keys = Keys::for_algorithm(algorithm);
        let token = keys.token().sign();
        for member in members {
            for zeros in [0, 1, 2, 5] {
                let set = key_set(&[respelled(&keys.jwk(), member, zeros)]);
                assert_eq!(judge(&token, &set), Ok(()), "{algorithm}: {zeros} zeros in front of {member}");
            }
        }
    }
}

#[test]
fn a_coordinate_that_begins_with_a_zero_may_come_without_it() {
    // One of 128 keys has such a coordinate.
    let short = (0..10_000).map(|_| Keys::generate()).find_map(|keys| {
        let jwk = keys.jwk();
        let starts = |member: &str| URL_SAFE_NO_PAD.decode(jwk[member].as_str().unwrap()).unwrap()[0] == 0;
        ["x", "y"].into_iter().find(|member| starts(member)).map(|member| (respelled(&jwk, member, 0), keys))
    });
    let (jwk, keys) = short.expect("ten thousand keys without a zero in front");

    assert_eq!(judge(&keys.token().sign(), &key_set(&[jwk])), Ok(()));
}

#[test]
fn each_of_several_keys_with_one_id_counts() {
    let (first, second, third) = (Keys::generate(), Keys::generate(), Keys::generate());
    let named = |keys: &Keys| {
        let mut jwk = keys.jwk();
        jwk["kid"] = json!(first.kid());
        jwk
    };
    let signed = |keys: &Keys| {
        let header = json!({"alg": "ES256", "kid": first.kid()}).to_string();
        keys.raw_token(&header, "{}")
    };
    let set = key_set(&[named(&first), named(&second)]);

    assert_eq!(judge(&signed(&first), &set), Ok(()));
    assert_eq!(judge(&signed(&second), &set), Ok(()), "the second key of this id");
    assert_eq!(judge(&signed(&third), &set), Err(NOT_SIGNED), "a key that is not in the set");
}

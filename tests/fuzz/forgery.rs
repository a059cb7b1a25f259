//! Tokens near a valid one, made by strategies so that an accepted one shrinks.
//!
//! One thing is left out on purpose: of an ECDSA signature `(r, s)` anybody can make `(r, n - s)`, which is as valid for
//! the same claims. Issuers send either, and nothing here tells tokens apart by their signature.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::clock;
use harness::tokens::{ALGORITHMS, Keys};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::parts::any_json;

/// The keys that the service knows, and one that it does not.
pub struct Issuer {
    /// Known, one for each kind of signature.
    pub known: Vec<Keys>,
    stranger: Keys,
}

impl Issuer {
    /// New keys.
    pub fn new() -> Self {
        let known = ["ES256", "EdDSA", "RS256", "PS256"].map(Keys::for_algorithm).into();
        Self { known, stranger: Keys::generate() }
    }
}

/// A forged token: how it is made, and what is done to its text then.
#[derive(Clone, Debug)]
pub struct Forgery {
    key: Index,
    made: Made,
    edits: Vec<Edit>,
}

/// How a token is made.
#[derive(Clone, Debug)]
enum Made {
    /// As it should be.
    Valid,
    /// Another claim, or one more, under the signature of a valid token.
    Claim(String, Value),
    /// Another parameter of the header, or one more, under the signature of a valid token.
    Parameter(String, Value),
    /// Signed by a key that the service does not know, under the id of one that it does.
    ByAStranger,
    /// With the key's own signature, but another algorithm in the header.
    Renamed(&'static str),
    /// With an HMAC that has the public key as its secret.
    Hmac(&'static str, Secret),
    /// Without a signature.
    Unsigned(&'static str),
    /// Well signed, with a parameter that is never accepted.
    Forbidden(&'static str, Value),
    /// Well signed, with a claim that is never accepted.
    Unacceptable(&'static str, Value),
    /// Well signed, without a claim that there must be.
    Without(&'static str),
    /// Well signed, with a member of the header or the claims twice.
    Twice { in_header: bool, member: Index },
}

/// What an HMAC may be tried with.
#[derive(Clone, Copy, Debug)]
enum Secret {
    KeySet,
    Key,
    Coordinate,
    Nothing,
}

/// What is done to the text of a token.
#[derive(Clone, Debug)]
enum Edit {
    /// A bit of what a segment decodes to is flipped.
    FlipBit(usize, Index, u8),
    /// A byte of what a segment decodes to is added or taken away.
    Bytes(usize, Index, Option<u8>),
    /// A character is another.
    Replace(Index, char),
    /// There is one more character.
    Insert(Index, char),
    /// A character is missing.
    Remove(Index),
    /// The text ends here.
    Cut(Index),
    /// Segments in another order.
    Shuffle([usize; 3]),
    /// Segments of another token.
    Mix(usize),
    /// This behind a segment.
    Append(usize, &'static str),
    /// This in front of all.
    Prepend(&'static str),
    /// The last character of a segment is the next one of the alphabet.
    NextCharacter(usize),
    /// The alphabet of base64 instead of base64url.
    OtherAlphabet,
    /// A segment in the other case.
    OtherCase(usize),
}

/// The characters of base64url in their order, and what does not belong there.
const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const CHARACTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ,%~\t\"";

/// Forgeries, valid tokens among them.
pub fn forgeries() -> BoxedStrategy<Forgery> {
    let nothing_but_valid = (any::<Index>(), vec(edits(), 0..4)).prop_map(|(key, edits)| Forgery {
        key,
        made: Made::Valid,
        edits,
    });
    let forged = (any::<Index>(), made(), vec(edits(), 0..2)).prop_map(|(key, made, edits)| Forgery {
        key,
        made,
        edits,
    });
    prop_oneof![1 => nothing_but_valid, 1 => forged].boxed()
}

fn made() -> BoxedStrategy<Made> {
    let now = clock::now().timestamp();
    let claim = select(&["sub", "exp", "iat", "iss", "aud", "email", "cognito:groups", "nbf", "admin"][..]);
    let parameter = select(&["alg", "kid", "typ", "crit", "jwk", "cty", "b64"][..]);
    let unacceptable = select(vec![
        ("exp", json!(now - 31)),
        ("exp", json!(0)),
        ("exp", json!(now + 86_400 * 2)),
        ("exp", json!("x")),
        ("iat", json!(now + 3_600)),
        ("nbf", json!(now + 3_600)),
        ("iss", json!("https://id.example.test.evil")),
        ("aud", json!(["other"])),
        ("sub", json!("")),
        ("sub", json!("a\nb")),
        ("sub", json!(1.5)),
        ("email", json!("\0")),
    ]);
    let names = ["none", "NONE", "HS256", "HS384", "HS512", "ES512", "es256", "", "EdDSA ", "RS256\0"];
    let secret = select(&[Secret::KeySet, Secret::Key, Secret::Coordinate, Secret::Nothing][..]);
    prop_oneof![
        3 => (claim, any_json()).prop_map(|(name, value)| Made::Claim(name.to_owned(), value)),
        3 => (parameter, any_json()).prop_map(|(name, value)| Made::Parameter(name.to_owned(), value)),
        1 => Just(Made::ByAStranger),
        3 => select([&names[..], &ALGORITHMS[..]].concat()).prop_map(Made::Renamed),
        2 => (select(&["HS256", "ES256", "RS256", "EdDSA"][..]), secret).prop_map(|(alg, secret)| Made::Hmac(alg, secret)),
        1 => select([&names[..], &ALGORITHMS[..]].concat()).prop_map(Made::Unsigned),
        2 => (select(&["crit", "jku", "jwk", "x5u", "x5c", "zip"][..]), any_json())
            .prop_map(|(name, value)| Made::Forbidden(name, value)),
        2 => unacceptable.prop_map(|(name, value)| Made::Unacceptable(name, value)),
        1 => select(&["exp", "iat", "iss", "aud", "sub"][..]).prop_map(Made::Without),
        2 => (any::<bool>(), any::<Index>()).prop_map(|(in_header, member)| Made::Twice { in_header, member }),
    ]
    .boxed()
}

fn edits() -> BoxedStrategy<Edit> {
    let segment = || 0..3usize;
    let character = || select(CHARACTERS.chars().collect::<Vec<_>>());
    const BEHIND: [&str; 10] = ["=", "==", ".", ".e30", ".e30.AAAA", "A", "\n", "%3D", ",", "\u{e9}"];
    prop_oneof![
        6 => (segment(), any::<Index>(), 0..8u8).prop_map(|(segment, at, bit)| Edit::FlipBit(segment, at, bit)),
        3 => (segment(), any::<Index>(), any::<Option<u8>>()).prop_map(|(segment, at, byte)| Edit::Bytes(segment, at, byte)),
        4 => (any::<Index>(), character()).prop_map(|(at, to)| Edit::Replace(at, to)),
        3 => (any::<Index>(), character()).prop_map(|(at, new)| Edit::Insert(at, new)),
        2 => any::<Index>().prop_map(Edit::Remove),
        1 => any::<Index>().prop_map(Edit::Cut),
        1 => [segment(), segment(), segment()].prop_map(Edit::Shuffle),
        2 => segment().prop_map(Edit::Mix),
        2 => (segment(), select(&BEHIND[..])).prop_map(|(segment, text)| Edit::Append(segment, text)),
        1 => select(&["Bearer ", ".", "A", "\0"][..]).prop_map(Edit::Prepend),
        3 => segment().prop_map(Edit::NextCharacter),
        1 => Just(Edit::OtherAlphabet),
        1 => segment().prop_map(Edit::OtherCase),
    ]
    .boxed()
}

impl Forgery {
    /// The token, and the valid one that it is made from.
    pub fn tokens(&self, issuer: &Issuer) -> (String, String) {
        let keys = self.key.get(&issuer.known);
        let valid = keys.token().sign();
        let made = self.made.token(issuer, keys, &valid);
        (self.edits.iter().fold(made, |token, edit| edit.apply(token, keys)), valid)
    }
}

impl Made {
    fn token(&self, issuer: &Issuer, keys: &Keys, valid: &str) -> String {
        let (_, signature) = valid.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let token = || keys.token();
        match self {
            Self::Valid => valid.to_owned(),
            Self::Claim(name, value) => token().claim(name, value.clone()).signed_by(|_| signature),
            Self::Parameter(name, value) => token().header(name, value.clone()).signed_by(|_| signature),
            Self::ByAStranger => token().signed_by(|input| issuer.stranger.sign(input)),
            Self::Renamed(alg) => token().header("alg", *alg).user("renamed").signed_by(|_| signature),
            Self::Hmac(alg, secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.bytes(keys));
                token().header("alg", *alg).signed_by(|input| hmac::sign(&key, input).as_ref().to_vec())
            }
            Self::Unsigned(alg) => token().header("alg", *alg).signed_by(|_| Vec::new()),
            Self::Forbidden(name, value) => token().header(name, value.clone()).sign(),
            Self::Unacceptable(name, value) => token().claim(name, value.clone()).sign(),
            Self::Without(name) => token().without_claim(name).sign(),
            Self::Twice { in_header, member } => {
                let segment = valid.split('.').nth(usize::from(!in_header)).unwrap();
                let twice = with_a_member_twice(&URL_SAFE_NO_PAD.decode(segment).unwrap(), member);
                if *in_header { token().with_raw_header(&twice) } else { token().with_raw_claims(&twice) }
            }
        }
    }
}

impl Secret {
    fn bytes(self, keys: &Keys) -> Vec<u8> {
        match self {
            Self::KeySet => keys.jwks().to_string().into_bytes(),
            Self::Key => keys.jwk().to_string().into_bytes(),
            Self::Coordinate => {
                let jwk = keys.jwk();
                let text = jwk["x"].as_str().or(jwk["n"].as_str()).unwrap();
                URL_SAFE_NO_PAD.decode(text).unwrap()
            }
            Self::Nothing => Vec::new(),
        }
    }
}

/// The object with one of its members once more, as it is.
fn with_a_member_twice(object: &[u8], member: &Index) -> String {
    let Ok(Value::Object(object)) = serde_json::from_slice(object) else { panic!("a segment is an object") };
    let members: Vec<String> =
        object.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
    format!("{{{},{}}}", members.join(","), member.get(&members))
}

impl Edit {
    fn apply(&self, token: String, keys: &Keys) -> String {
        let mut characters: Vec<char> = token.chars().collect();
        match self {
            Self::Replace(at, to) if !characters.is_empty() => {
                *at.get_mut(&mut characters) = *to;
                characters.into_iter().collect()
            }
            Self::Insert(at, new) => {
                characters.insert(at.index(characters.len() + 1), *new);
                characters.into_iter().collect()
            }
            Self::Remove(at) if !characters.is_empty() => {
                characters.remove(at.index(characters.len()));
                characters.into_iter().collect()
            }
            Self::Cut(at) => characters[..at.index(characters.len() + 1)].iter().collect(),
            Self::Prepend(text) => format!("{text}{token}"),
            Self::OtherAlphabet => token.replace('-', "+").replace('_', "/"),
            _ => self.apply_to_segments(&token, keys),
        }
    }

    /// Where there are no three segments any more, the text stays as it is.
    fn apply_to_segments(&self, token: &str, keys: &Keys) -> String {
        let segments: Vec<String> = token.split('.').map(str::to_owned).collect();
        let Ok(mut segments) = <[String; 3]>::try_from(segments) else { return token.to_owned() };
        match self {
            Self::FlipBit(segment, at, bit) => recode(&mut segments[*segment], |bytes| {
                if !bytes.is_empty() {
                    *at.get_mut(bytes) ^= 1 << bit;
                }
            }),
            Self::Bytes(segment, at, Some(byte)) => {
                recode(&mut segments[*segment], |bytes| bytes.insert(at.index(bytes.len() + 1), *byte))
            }
            Self::Bytes(segment, at, None) => recode(&mut segments[*segment], |bytes| {
                if !bytes.is_empty() {
                    bytes.remove(at.index(bytes.len()));
                }
            }),
            Self::Shuffle(order) => segments = order.map(|from| segments[from].clone()),
            Self::Mix(segment) => {
                // Another one for each segment: two that belong together would be a valid token.
                let other = keys.token().user(&format!("somebody-else-{segment}")).sign();
                segments[*segment] = other.split('.').nth(*segment).unwrap().to_owned();
            }
            Self::Append(segment, text) => segments[*segment].push_str(text),
            Self::NextCharacter(segment) => {
                let next =
                    segments[*segment].pop().and_then(|last| ALPHABET.find(last)).map(|at| (at + 1) % 64);
                segments[*segment].extend(next.map(|at| char::from(ALPHABET.as_bytes()[at])));
            }
            Self::OtherCase(segment) => {
                let other = |char: char| {
                    if char.is_ascii_lowercase() {
                        char.to_ascii_uppercase()
                    } else {
                        char.to_ascii_lowercase()
                    }
                };
                segments[*segment] = segments[*segment].chars().map(other).collect();
            }
            _ => {}
        }
        segments.join(".")
    }
}

/// Changes what a segment decodes to, if it does.
fn recode(segment: &mut String, change: impl FnOnce(&mut Vec<u8>)) {
    if let Ok(mut bytes) = URL_SAFE_NO_PAD.decode(segment.as_str()) {
        change(&mut bytes);
        *segment = URL_SAFE_NO_PAD.encode(bytes);
    }
}

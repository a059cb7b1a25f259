//! Token verification in three steps: header policy, signature, claims. Only step two creates a [`Signed`], so
//! unsigned claims are never read. The rules are here because `jsonwebtoken` by default accepts unknown `crit`, any
//! `typ`, a missing `iss`, `aud` or `sub`, an `exp` up to a minute ago and a future `nbf`. RFC 7515, RFC 7519, RFC 8725.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, crypto};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use thiserror::Error;

use super::claim_path::ClaimPath;
use super::keys::{Fingerprint, KeySet};
use super::{algorithms, json};
use crate::domain::admin::Admin;
use crate::domain::time::Timestamp;

pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// In characters. A user id is in every row and event of its user, and in an index.
const MAX_USER_ID: usize = 256;
/// Allowed clock skew, in seconds.
const LEEWAY: f64 = 30.0;
/// From `iat` to `exp`, in seconds.
const MAX_LIFETIME: f64 = 24.0 * 60.0 * 60.0;

/// Of a header: extensions that would have to be understood, and keys that the token brings along.
const REFUSED_PARAMETERS: [&str; 6] = ["crit", "jku", "jwk", "x5u", "x5c", "zip"];

/// Required claims.
#[derive(Debug, Clone)]
pub struct ClaimSettings {
    /// Unchecked if unset.
    pub issuer: Option<String>,
    /// One of these must be in `aud` or, if there is none, be the `client_id`; unchecked if empty.
    pub audiences: Vec<String>,
    pub user_id_claim: ClaimPath,
    pub groups_claim: ClaimPath,
    /// An admin is in at least one of these.
    pub admin_groups: Vec<String>,
}

/// The broken rule. For the log, never for callers; contains nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct TokenError(pub &'static str);

/// Result of step one: an acceptable header. Nothing here is trusted yet.
#[derive(Debug, Clone)]
pub struct Unverified<'a> {
    pub algorithm: Algorithm,
    pub key_id: String,
    /// The signing input: the first two segments and the dot between them.
    pub message: &'a str,
    /// The claims, in base64url.
    pub payload: &'a str,
    /// In base64url.
    pub signature: &'a str,
}

/// Result of step two: claims signed by a known key, not checked yet.
#[derive(Debug)]
pub struct Signed<'a>(&'a str);

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    typ: Option<String>,
}

/// An optional member that must not be null.
fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Step one: allowed algorithms only, with a key id. Rejects headers that carry or reference a key of their own, and
/// extensions that would have to be understood.
pub fn check_header(token: &str) -> Result<Unverified<'_>, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError("the token is too long"));
    }
    let three = TokenError("the token is not three segments");
    let (message, signature) = token.rsplit_once('.').ok_or(three)?;
    let (header, payload) = message.split_once('.').ok_or(three)?;
    if payload.contains('.') {
        return Err(three);
    }
    let header = object(header).ok_or(TokenError("the header is not a JSON object in base64url"))?;
    let refused = REFUSED_PARAMETERS.iter().any(|name| header.get(name).is_some());
    let header: Header = serde_json::from_value(header)
        .map_err(|_| TokenError("the header lacks `alg`, or a parameter has the wrong type"))?;
    if refused {
        return Err(TokenError("the header has one of crit, jku, jwk, x5u, x5c, zip"));
    }
    if header.typ.is_some_and(|typ| !is_token(&typ)) {
        return Err(TokenError("the header's `typ` is neither JWT nor at+jwt"));
    }
    let algorithm = algorithms::named(&header.alg).ok_or(TokenError("the header's `alg` is not allowed"))?;
    let key_id = header.kid.ok_or(TokenError("the header has no `kid`"))?;
    Ok(Unverified { algorithm, key_id, message, payload, signature })
}

/// `JWT` or `at+jwt` (RFC 9068), in any case; `application/` may be left out (RFC 7515 section 4.1.9).
fn is_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    ["jwt", "at+jwt"].contains(&typ.strip_prefix("application/").unwrap_or(&typ))
}

/// Step two: verifies with a key that the header names and that allows the algorithm; several may have the same id.
/// A signature has one valid spelling: padding, or non-zero bits left over in base64url, make it another. A verified
/// token is cached with its key set.
pub fn check_signature<'a>(token: &Unverified<'a>, keys: &KeySet) -> Result<Signed<'a>, TokenError> {
    let mut keys_of_id = keys.find(&token.key_id, token.algorithm).peekable();
    if keys_of_id.peek().is_none() {
        return Err(TokenError("no key of this `kid` for this `alg` in the key set"));
    }
    let fingerprint = Fingerprint::of(token.message, token.signature);
    if !keys.has_verified(&fingerprint) {
        let message = token.message.as_bytes();
        let verifies =
            |key| matches!(crypto::verify(token.signature, message, key, token.algorithm), Ok(true));
        if !keys_of_id.any(verifies) {
            return Err(TokenError("the signature does not verify"));
        }
        keys.remember(fingerprint);
    }
    Ok(Signed(token.payload))
}

/// Decodes a segment that must be a JSON object.
fn object(segment: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(segment).ok()?;
    json::parse(&bytes).ok().filter(Value::is_object)
}

#[derive(Deserialize)]
struct Claims {
    exp: f64,
    iat: f64,
    #[serde(default, deserialize_with = "not_null")]
    nbf: Option<f64>,
    iss: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    aud: Option<Audience>,
    client_id: Option<String>,
    email: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn holds_one_of(&self, expected: &[String]) -> bool {
        match self {
            Self::One(one) => expected.contains(one),
            Self::Several(several) => several.iter().any(|one| expected.contains(one)),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: Admin,
    /// If false, the caller is authenticated but may do nothing.
    pub is_admin: bool,
    /// Whether the token has the claim with the groups at all; for the log.
    pub has_groups: bool,
}

/// The claims that a signed token lacks although they are required, and those of another type than they must have. For
/// the log, so without their values.
pub fn claims_at_fault(token: &Signed<'_>, settings: &ClaimSettings) -> Vec<String> {
    let Some(all) = object(token.0) else { return Vec::new() };
    let is_there = |name: &str| !all[name].is_null();
    let is_text = |name: &str| all[name].is_string();
    let user_id = settings.user_id_claim.find(&all).filter(|id| !id.is_null());
    let has_user_id = user_id.is_none_or(|id| !self::user_id(Some(id)).is_empty() || id.is_string());
    let needs_audience = !settings.audiences.is_empty() && !is_there("client_id");
    // Whether it is required, and whether its type is right if it is there.
    [
        ("exp", true, is_there("exp"), all["exp"].is_number()),
        ("iat", true, is_there("iat"), all["iat"].is_number()),
        ("nbf", false, is_there("nbf"), all["nbf"].is_number()),
        ("iss", settings.issuer.is_some(), is_there("iss"), is_text("iss")),
        ("aud", needs_audience, is_there("aud"), Audience::deserialize(&all["aud"]).is_ok()),
        ("client_id", false, is_there("client_id"), is_text("client_id")),
        ("email", false, is_there("email"), is_text("email")),
        (settings.user_id_claim.as_str(), true, user_id.is_some(), has_user_id),
    ]
    .into_iter()
    .filter_map(|(name, is_required, is_there, fits)| match (is_there, is_required, fits) {
        (false, true, _) => Some(format!("no `{name}`")),
        (true, _, false) => Some(format!("`{name}` has another type")),
        _ => None,
    })
    .collect()
}

/// Step three.
pub fn check_claims(
    token: &Signed<'_>,
    settings: &ClaimSettings,
    now: Timestamp,
) -> Result<Identity, TokenError> {
    let all = object(token.0).ok_or(TokenError("the claims are not a JSON object in base64url"))?;
    let claims = Claims::deserialize(&all)
        .map_err(|_| TokenError("the claims lack `exp` or `iat`, or one of them has the wrong type"))?;
    check_times(&claims, now)?;
    if settings.issuer.is_some() && claims.iss != settings.issuer {
        return Err(TokenError("the issuer is another"));
    }
    if !settings.audiences.is_empty() {
        let matches = match &claims.aud {
            Some(audience) => audience.holds_one_of(&settings.audiences),
            // Amazon Cognito's access tokens have no `aud`.
            None => claims.client_id.as_ref().is_some_and(|client| settings.audiences.contains(client)),
        };
        if !matches {
            return Err(TokenError("the audience is another"));
        }
    }
    let user_id = user_id(settings.user_id_claim.find(&all));
    if user_id.trim().is_empty() {
        return Err(TokenError("there is no user id: nobody could be held accountable"));
    }
    if user_id.chars().count() > MAX_USER_ID {
        return Err(TokenError("the user id is too long"));
    }
    if [Some(user_id.as_str()), claims.email.as_deref()]
        .into_iter()
        .flatten()
        .any(|text| text.contains(char::is_control))
    {
        return Err(TokenError("the user id or the e-mail address has control characters"));
    }
    let groups_claim = settings.groups_claim.find(&all);
    let is_admin = groups(groups_claim, settings.groups_claim.is_scope())
        .any(|group| settings.admin_groups.iter().any(|admin_group| admin_group == group));
    Ok(Identity {
        user: Admin { user_id, email: claims.email },
        is_admin,
        has_groups: groups_claim.is_some(),
    })
}

fn check_times(claims: &Claims, now: Timestamp) -> Result<(), TokenError> {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^53")]
    let now = now.to_utc().timestamp_millis() as f64 / 1000.0;
    if claims.exp + LEEWAY <= now {
        return Err(TokenError("the token has expired"));
    }
    if claims.nbf.is_some_and(|nbf| nbf - LEEWAY > now) {
        return Err(TokenError("the token is not valid yet"));
    }
    if claims.iat - LEEWAY > now {
        return Err(TokenError("the token was issued in the future"));
    }
    if claims.exp - claims.iat > MAX_LIFETIME {
        return Err(TokenError("the token is valid for more than 24 hours"));
    }
    Ok(())
}

/// A text, or an integer in digits; empty if it is neither. Other numbers are not exact, and two users could be one.
fn user_id(claim: Option<&Value>) -> String {
    match claim {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => number.to_string(),
        _ => String::new(),
    }
}

/// An array of strings, or a single string, which is a list if it is a scope.
fn groups(claim: Option<&Value>, is_scope: bool) -> impl Iterator<Item = &str> {
    let (text, several) = match claim {
        Some(Value::String(text)) => (Some(text.as_str()), &[][..]),
        Some(Value::Array(groups)) => (None, &groups[..]),
        _ => (None, &[][..]),
    };
    let of_text = text.into_iter().flat_map(move |text| text.split(move |char| is_scope && char == ' '));
    of_text.filter(|group| !group.is_empty()).chain(several.iter().filter_map(Value::as_str))
}

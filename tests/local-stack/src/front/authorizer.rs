//! API Gateway's JWT authorizer as the template configures it: signature, issuer, audience and times, before the functions
//! verify the same token again. It does not know groups.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::clock;
use hyper::header::{AUTHORIZATION, HeaderMap};
use serde_json::Value;

use crate::tokens::{AUDIENCE, ISSUER, Keys};

/// The public key of the identity provider.
#[derive(Clone, Debug)]
pub struct Authorizer {
    kid: String,
    key: RsaPublicKeyComponents<Vec<u8>>,
}

impl Authorizer {
    /// # Panics
    /// When the keys are not for RS256: API Gateway knows RSA only.
    pub fn of(keys: &Keys) -> Self {
        let jwk = keys.jwk();
        assert_eq!(jwk["alg"], "RS256", "API Gateway's authorizer accepts RSA signatures only");
        let part = |name: &str| decode(jwk[name].as_str().unwrap_or_default()).unwrap_or_default();
        let key = RsaPublicKeyComponents { n: part("n"), e: part("e") };
        Self { kid: keys.kid().to_owned(), key }
    }

    /// The `WWW-Authenticate` header of the 401; `None` when the token is accepted.
    pub fn refusal(&self, headers: &HeaderMap) -> Option<String> {
        let Some(authorization) = headers.get(AUTHORIZATION) else { return Some("Bearer".to_owned()) };
        let why = self.fault(authorization.to_str().unwrap_or_default())?;
        Some(format!(r#"Bearer scope="" error="invalid_token" error_description="{why}""#))
    }

    fn fault(&self, authorization: &str) -> Option<&'static str> {
        // API Gateway accepts a token without the scheme.
        let (scheme, rest) = authorization.split_once(' ').unwrap_or(("bearer", authorization));
        let token = rest.trim();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Some("the token is not a JWT");
        }
        let Some(claims) = self.verified(token) else { return Some("the token is not valid") };
        let now = clock::now().timestamp();
        let time = |name: &str| claims[name].as_i64();
        if claims["iss"] != ISSUER {
            return Some("the token does not have a valid issuer");
        }
        let audience = if claims["aud"].is_null() { &claims["client_id"] } else { &claims["aud"] };
        let audiences = audience.as_array().map_or(std::slice::from_ref(audience), Vec::as_slice);
        if !audiences.iter().any(|audience| audience == AUDIENCE) {
            return Some("the token does not have a valid audience");
        }
        if time("exp").is_none_or(|exp| exp <= now) {
            return Some("the token has expired");
        }
        let is_early = ["nbf", "iat"].iter().any(|name| time(name).is_some_and(|time| time > now));
        is_early.then_some("the token is not valid yet")
    }

    /// The claims of a token that the identity provider has signed.
    fn verified(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        if header["alg"] != "RS256" || header["kid"] != self.kid.as_str() {
            return None;
        }
        self.key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &decode(signature)?).ok()?;
        serde_json::from_slice(&decode(claims)?).ok()
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

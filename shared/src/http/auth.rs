//! Authentication: from the `Authorization` header to an accountable admin.

use std::sync::Arc;

use lambda_http::http::HeaderMap;

use super::keys::KeySetCache;
use super::problem::Problem;
use super::request::Request;
use super::token::{
    ClaimSettings, Signed, TokenError, check_claims, check_header, check_signature, claims_at_fault,
};
use crate::domain::admin::Caller;
use crate::ports::clock::Clock;

pub struct Authenticator {
    keys: KeySetCache,
    claims: ClaimSettings,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    #[must_use]
    pub fn new(keys: KeySetCache, claims: ClaimSettings, clock: Arc<dyn Clock>) -> Self {
        Self { keys, claims, clock }
    }

    /// Fails with [`Problem::NoToken`], [`Problem::BadToken`], [`Problem::NotAdmin`] or [`Problem::KeysUnavailable`].
    pub async fn authenticate(&self, request: &Request) -> Result<Caller, Problem> {
        let token = bearer(&request.headers)?;
        let unverified = check_header(token).map_err(refused)?;
        let keys = self.keys.key_set_for(&unverified.key_id).await.ok_or(Problem::KeysUnavailable)?;
        let signed = check_signature(&unverified, &keys).map_err(refused)?;
        let identity = check_claims(&signed, &self.claims, self.clock.now())
            .map_err(|error| Problem::BadToken { rule: with_claims(error, &signed, &self.claims) })?;
        // Set once for a request.
        let _ = request.user_id.set(identity.user.user_id.clone());
        if !identity.is_admin {
            let claim = self.claims.groups_claim.as_str();
            let rule = if identity.has_groups {
                format!("no group in the claim `{claim}` is one of AUTH_ADMIN_GROUPS")
            } else {
                format!("there is no claim `{claim}`")
            };
            return Err(Problem::NotAdmin { rule });
        }
        Ok(Caller { admin: identity.user, call: request.call.clone() })
    }
}

fn refused(error: TokenError) -> Problem {
    Problem::BadToken { rule: error.to_string() }
}

/// The broken rule and, because several claims share some rules, which claims are missing or of another type.
fn with_claims(error: TokenError, token: &Signed<'_>, settings: &ClaimSettings) -> String {
    let at_fault = claims_at_fault(token, settings);
    if at_fault.is_empty() { error.to_string() } else { format!("{error}; {}", at_fault.join(", ")) }
}

/// The bearer token; the scheme is case-insensitive (RFC 6750 section 2.1). A missing header or another scheme counts
/// as no token, so that the challenge carries no error (section 3.1); anything else that is not a single token is a
/// bad one.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all("authorization").iter();
    let value = values.next().ok_or(Problem::NoToken)?;
    if values.next().is_some() {
        return Err(refused(TokenError("there are two Authorization headers")));
    }
    let value = value.to_str().map_err(|_| refused(TokenError("the Authorization header is not ASCII")))?;
    let value = value.trim();
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim_start()) } else { Err(Problem::NoToken) }
}

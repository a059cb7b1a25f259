//! Settings for token verification: the source of keys and the required claims.

use lambda_http::http::Uri;

use super::keys::{KeySet, KeySource};
use super::token::ClaimSettings;
use crate::config::{Lookup, SettingError, error, is_loopback, optional};

#[derive(Debug)]
pub struct AuthSettings {
    pub keys: KeySource,
    pub claims: ClaimSettings,
}

impl AuthSettings {
    /// Reads `AUTH_…`.
    pub fn read(lookup: Lookup<'_>) -> Result<Self, SettingError> {
        let keys = match (optional(lookup, "AUTH_JWKS"), optional(lookup, "AUTH_JWKS_URL")) {
            (Some(_), Some(_)) => {
                return Err(error("AUTH_JWKS", "and AUTH_JWKS_URL are both set; set one of them"));
            }
            (None, None) => {
                return Err(error(
                    "AUTH_JWKS_URL",
                    "is not set; it must be the https URL of the issuer's key set (or AUTH_JWKS the key set itself)",
                ));
            }
            (Some(json), None) => KeySource::Inline(
                KeySet::parse(json.as_bytes()).map_err(|reason| error("AUTH_JWKS", reason.to_string()))?,
            ),
            (None, Some(url)) => {
                check_key_url(&url)?;
                KeySource::Url(url)
            }
        };
        let admin_groups: Vec<String> = optional(lookup, "AUTH_ADMIN_GROUPS")
            .unwrap_or_else(|| "admin,admins".to_owned())
            .split(',')
            .map(|group| group.trim().to_owned())
            .filter(|group| !group.is_empty())
            .collect();
        if admin_groups.is_empty() {
            return Err(error("AUTH_ADMIN_GROUPS", "names no group; it must be a list such as admin,admins"));
        }
        Ok(Self {
            keys,
            claims: ClaimSettings {
                issuer: optional(lookup, "AUTH_ISSUER"),
                audience: optional(lookup, "AUTH_AUDIENCE"),
                user_id_claim: optional(lookup, "AUTH_USER_ID_CLAIM").unwrap_or_else(|| "sub".to_owned()),
                groups_claim: optional(lookup, "AUTH_GROUPS_CLAIM")
                    .unwrap_or_else(|| "cognito:groups".to_owned()),
                admin_groups,
            },
        })
    }
}

/// https only, except for a host on this machine.
fn check_key_url(url: &str) -> Result<(), SettingError> {
    let bad = |reason: &str| error("AUTH_JWKS_URL", format!("{reason}; it must be an https URL"));
    let url: Uri = url.parse().map_err(|_| bad("is not a URL"))?;
    let host = url.host().ok_or_else(|| bad("has no host"))?;
    match url.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if is_loopback(host) => Ok(()),
        _ => Err(bad("is not https")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_url_is_https_but_for_this_machine() {
        assert!(check_key_url("https://issuer.example.com/.well-known/jwks.json").is_ok());
        assert!(check_key_url("http://127.0.0.1:9000/jwks").is_ok());
        for url in ["http://issuer.example.com/jwks", "ftp://issuer.example.com/jwks", "jwks.json", ""] {
            assert!(check_key_url(url).is_err(), "{url:?} was accepted");
        }
    }
}

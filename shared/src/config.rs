//! The settings: the only reader of the environment. A missing or bad one is a clear line that names the variable.
//!
//! The AWS settings (`AWS_REGION`, `AWS_ENDPOINT_URL`, …) are the SDK's own; the runtime's (`AWS_LAMBDA_…`) its own.

mod database;

use std::fmt;
use std::net::IpAddr;

use lambda_http::http::Uri;
use thiserror::Error;

pub use self::database::DatabaseSettings;

use crate::http::keys::{KeySet, KeySource};

/// A setting that cannot be used.
#[derive(Error)]
#[error("{variable} {reason}")]
pub struct SettingError {
    /// The environment variable.
    pub variable: &'static str,
    /// What is wrong with it, and what to do. Never its value: it may be a secret.
    pub reason: String,
}

/// What `main` prints when it returns an error is its `Debug`: the same one line.
impl fmt::Debug for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Looks a variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's environment.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

fn error(variable: &'static str, reason: impl Into<String>) -> SettingError {
    SettingError { variable, reason: reason.into() }
}

/// A setting without the white space around it: a line break at the end of a copied value is none of it. One of white
/// space only is unset.
fn optional(lookup: Lookup<'_>, variable: &'static str) -> Option<String> {
    let mut value = lookup(variable)?;
    let trimmed = value.trim();
    if trimmed.len() < value.len() {
        value = trimmed.to_owned();
    }
    (!value.is_empty()).then_some(value)
}

fn required(lookup: Lookup<'_>, variable: &'static str, what: &str) -> Result<String, SettingError> {
    optional(lookup, variable).ok_or_else(|| error(variable, format!("is not set; it must be {what}")))
}

/// A setting that was read but cannot be used: TLS or the pool cannot be set up with it.
#[must_use]
pub fn unusable(variable: &'static str, reason: &dyn std::error::Error) -> SettingError {
    error(variable, format!("cannot be used: {reason}"))
}

/// Whether a host name is this machine's own.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// How to find out who is asking.
#[derive(Debug)]
pub struct AuthSettings {
    /// Where the keys come from.
    pub keys: KeySource,
    /// What the token must say.
    pub claims: ClaimSettings,
}

/// What a token must say.
#[derive(Debug, Clone)]
pub struct ClaimSettings {
    /// The expected `iss`; unchecked when unset.
    pub issuer: Option<String>,
    /// The expected `aud` (or `client_id`); unchecked when unset.
    pub audience: Option<String>,
    /// The claim that holds the user id.
    pub user_id_claim: String,
    /// The claim that holds the groups.
    pub groups_claim: String,
    /// The groups of which an admin has at least one.
    pub admin_groups: Vec<String>,
}

impl AuthSettings {
    /// Reads `AUTH_…`.
    ///
    /// # Errors
    /// [`SettingError`].
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

/// https only; plain http for a host on this machine.
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

/// The audit log group, from `AUDIT_LOG_GROUP`.
///
/// # Errors
/// [`SettingError`] when it is not a name that CloudWatch Logs accepts: it would refuse every event for it.
pub fn audit_log_group(lookup: Lookup<'_>) -> Result<String, SettingError> {
    let group = optional(lookup, "AUDIT_LOG_GROUP").unwrap_or_else(|| "/flag-schedules/audit".to_owned());
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/#".contains(c);
    if group.len() <= 512 && group.chars().all(allowed) {
        Ok(group)
    } else {
        Err(error("AUDIT_LOG_GROUP", "is not a log group name; it must be 1 to 512 of a-z A-Z 0-9 . _ - / #"))
    }
}

/// How the function logs: as Lambda is told by its logging configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// One JSON object a line instead of text.
    pub json: bool,
    /// A `tracing` filter.
    pub filter: String,
}

impl LogSettings {
    /// Reads `AWS_LAMBDA_LOG_FORMAT`, and `AWS_LAMBDA_LOG_LEVEL` or `RUST_LOG`.
    #[must_use]
    pub fn read(lookup: Lookup<'_>) -> Self {
        let level = optional(lookup, "AWS_LAMBDA_LOG_LEVEL").or_else(|| optional(lookup, "RUST_LOG"));
        Self {
            json: optional(lookup, "AWS_LAMBDA_LOG_FORMAT")
                .is_some_and(|format| format.eq_ignore_ascii_case("json")),
            filter: level.unwrap_or_else(|| "info".to_owned()).to_ascii_lowercase(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_setting_is_named() {
        let error = DatabaseSettings::read(&|_| None).err().unwrap();
        assert_eq!(error.variable, "DATABASE_URL");
        assert!(error.to_string().starts_with("DATABASE_URL is not set; it must be"), "{error}");

        let error = AuthSettings::read(&|_| None).unwrap_err();
        assert_eq!(error.variable, "AUTH_JWKS_URL");
    }

    #[test]
    fn white_space_around_a_setting_is_none_of_it() {
        let read = |name: &str| match name {
            "DATABASE_URL" => Some("\tpostgres://u:p@db.example.com/d\n".to_owned()),
            "DATABASE_CA_FILE" => Some(" /opt/ca.pem\r\n".to_owned()),
            "AUTH_JWKS_URL" => Some("https://issuer.example.com/jwks.json\n".to_owned()),
            "AUTH_ISSUER" => Some("https://issuer.example.com\n".to_owned()),
            "AUTH_AUDIENCE" => Some(" flags ".to_owned()),
            "AUTH_USER_ID_CLAIM" => Some("username\n".to_owned()),
            "AUTH_GROUPS_CLAIM" => Some("\ngroups".to_owned()),
            "AUTH_ADMIN_GROUPS" => Some(" ops ,\n sre\n".to_owned()),
            "AUDIT_LOG_GROUP" => Some("/audit\n".to_owned()),
            "AWS_LAMBDA_LOG_FORMAT" => Some("JSON\n".to_owned()),
            "AWS_LAMBDA_LOG_LEVEL" => Some(" DEBUG\n".to_owned()),
            _ => None,
        };

        let database = DatabaseSettings::read(&read).unwrap();
        let auth = AuthSettings::read(&read).unwrap();

        assert_eq!(database.driver.get_dbname(), Some("d"));
        assert_eq!(database.ca_file.as_deref(), Some("/opt/ca.pem"));
        assert!(matches!(auth.keys, KeySource::Url(url) if url == "https://issuer.example.com/jwks.json"));
        assert_eq!(auth.claims.issuer.as_deref(), Some("https://issuer.example.com"));
        assert_eq!(auth.claims.audience.as_deref(), Some("flags"));
        assert_eq!(auth.claims.user_id_claim, "username");
        assert_eq!(auth.claims.groups_claim, "groups");
        assert_eq!(auth.claims.admin_groups, ["ops", "sre"]);
        assert_eq!(audit_log_group(&read).unwrap(), "/audit");
        assert_eq!(LogSettings::read(&read), LogSettings { json: true, filter: "debug".to_owned() });
    }

    #[test]
    fn a_key_url_is_https_but_for_this_machine() {
        assert!(check_key_url("https://issuer.example.com/.well-known/jwks.json").is_ok());
        assert!(check_key_url("http://127.0.0.1:9000/jwks").is_ok());
        for url in ["http://issuer.example.com/jwks", "ftp://issuer.example.com/jwks", "jwks.json", ""] {
            assert!(check_key_url(url).is_err(), "{url:?} was accepted");
        }
    }

    #[test]
    fn a_log_group_that_cloudwatch_would_refuse_is_refused_at_start() {
        let group = |name: &str| audit_log_group(&|_| Some(name.to_owned()));
        assert_eq!(group("/a/b-c_d.e#1").unwrap(), "/a/b-c_d.e#1");
        assert!(group("with space").is_err());
        assert_eq!(audit_log_group(&|_| None).unwrap(), "/flag-schedules/audit");
    }
}

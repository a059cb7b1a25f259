//! Reads settings; the only reader of the environment. Each settings struct is next to its consumer. Errors are one
//! line that names the variable. `AWS_REGION`, `AWS_ENDPOINT_URL`, … belong to the AWS SDK, `AWS_LAMBDA_…` to the
//! runtime.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

/// A missing or invalid setting.
#[derive(Error)]
#[error("{variable} {reason}")]
pub struct SettingError {
    pub variable: Cow<'static, str>,
    /// The problem and the fix. Never the value, which may be a secret.
    pub reason: String,
}

/// `main` prints errors with `Debug`: show the same single line.
impl fmt::Debug for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// A variable whose value is not UTF-8 would count as unset, and what it sets as unchecked.
///
/// # Errors
/// The first such variable.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn check_encoding() -> Result<(), SettingError> {
    for (variable, value) in std::env::vars_os() {
        if value.to_str().is_none() {
            let variable = variable.to_string_lossy().into_owned();
            return Err(SettingError { variable: variable.into(), reason: "is not UTF-8".to_owned() });
        }
    }
    Ok(())
}

/// What `RELEASE_NAME` calls this deployment, in log lines and in what `migrate` answers.
#[must_use]
pub fn release(lookup: Lookup<'_>) -> String {
    optional(lookup, "RELEASE_NAME").unwrap_or_else(|| "unknown".to_owned())
}

pub(crate) fn error(variable: &'static str, reason: impl Into<String>) -> SettingError {
    SettingError { variable: variable.into(), reason: reason.into() }
}

/// Trims whitespace, such as the line break of a pasted value; a blank setting is unset.
pub(crate) fn optional(lookup: Lookup<'_>, variable: &'static str) -> Option<String> {
    let mut value = lookup(variable)?;
    let trimmed = value.trim();
    if trimmed.len() < value.len() {
        value = trimmed.to_owned();
    }
    (!value.is_empty()).then_some(value)
}

pub(crate) fn required(
    lookup: Lookup<'_>,
    variable: &'static str,
    what: &str,
) -> Result<String, SettingError> {
    optional(lookup, variable).ok_or_else(|| error(variable, format!("is not set; it must be {what}")))
}

/// For a setting that was read but fails in use: TLS or the pool cannot be set up with it.
#[must_use]
pub fn unusable(variable: &'static str, reason: &dyn std::error::Error) -> SettingError {
    error(variable, format!("cannot be used: {reason}"))
}

#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use crate::adapters::cloudwatch::audit_log_group;
    use crate::adapters::postgres::settings::DatabaseSettings;
    use crate::http::auth_settings::AuthSettings;
    use crate::http::keys::KeySource;
    use crate::logging::LogSettings;

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
            "RELEASE_NAME" => Some(" 1.2\n".to_owned()),
            _ => None,
        };

        let database = DatabaseSettings::read(&read).unwrap();
        let auth = AuthSettings::read(&read).unwrap();

        assert_eq!(database.driver.get_dbname(), Some("d"));
        assert_eq!(database.ca_file.as_deref(), Some("/opt/ca.pem"));
        assert!(matches!(auth.keys, KeySource::Url(url) if url == "https://issuer.example.com/jwks.json"));
        assert_eq!(auth.claims.issuer.as_deref(), Some("https://issuer.example.com"));
        assert_eq!(auth.claims.audiences, ["flags"]);
        assert_eq!(auth.claims.user_id_claim.as_str(), "username");
        assert_eq!(auth.claims.groups_claim.as_str(), "groups");
        assert_eq!(auth.claims.admin_groups, ["ops", "sre"]);
        assert_eq!(audit_log_group(&read).unwrap(), "/audit");
        assert_eq!(
            LogSettings::read(&read),
            LogSettings { json: true, filter: "debug".to_owned(), release: "1.2".to_owned() }
        );
    }
}

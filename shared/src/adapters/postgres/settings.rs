//! Settings for the connection to the database.

use std::net::IpAddr;

use tokio_postgres::config::{Host, SslMode};

use super::database_url;
use crate::config::{Lookup, SettingError, error, is_loopback, optional, required};

#[derive(Clone)]
pub struct DatabaseSettings {
    pub driver: tokio_postgres::Config,
    /// Certificate and host name are fully verified. Only a host on this machine may go without TLS.
    pub tls: bool,
    /// A PEM file of additional roots.
    pub ca_file: Option<String>,
    /// The region for RDS IAM tokens, which replace a password; implies a single host and TLS.
    pub iam_region: Option<String>,
    /// Whether statements may be prepared by name.
    pub may_prepare: bool,
}

impl DatabaseSettings {
    /// Reads `DATABASE_URL`, `DATABASE_AUTH` (with `AWS_REGION`), `DATABASE_CA_FILE` and `DATABASE_PREPARE`.
    pub fn read(lookup: Lookup<'_>) -> Result<Self, SettingError> {
        let url = required(lookup, "DATABASE_URL", database_url::WHAT)?;
        let iam_region = iam_region(lookup)?;
        let (mut driver, mode) = database_url::parse(&url).map_err(|reason| error("DATABASE_URL", reason))?;
        // The connection goes to `hostaddr` if there is one, not to the host.
        let local =
            driver.get_hosts().iter().all(is_local) && driver.get_hostaddrs().iter().all(IpAddr::is_loopback);
        if iam_region.is_some() {
            check_iam(&driver)?;
        }
        let tls = match mode.as_deref() {
            // A token is as sensitive as a password, and RDS accepts it only over TLS.
            Some("disable" | "allow" | "prefer") if iam_region.is_some() => {
                return Err(error(
                    "DATABASE_AUTH",
                    "is iam, which needs TLS, but DATABASE_URL asks for a connection without it; use sslmode=verify-full or leave it out",
                ));
            }
            None => !local || iam_region.is_some(),
            Some("disable" | "allow" | "prefer") if local => false,
            // Any request for TLS means full verification: encryption to an unverified server protects nothing.
            Some("require" | "verify-ca" | "verify-full") => true,
            Some("disable" | "allow" | "prefer") => {
                return Err(error(
                    "DATABASE_URL",
                    "asks for a connection without TLS to another machine; use sslmode=verify-full or leave it out",
                ));
            }
            Some(_) => {
                return Err(error("DATABASE_URL", "has an unknown sslmode; use verify-full or leave it out"));
            }
        };
        driver.ssl_mode(if tls { SslMode::Require } else { SslMode::Disable });
        let may_prepare = may_prepare(lookup, &driver)?;
        Ok(Self { driver, tls, ca_file: optional(lookup, "DATABASE_CA_FILE"), iam_region, may_prepare })
    }
}

fn iam_region(lookup: Lookup<'_>) -> Result<Option<String>, SettingError> {
    match optional(lookup, "DATABASE_AUTH").as_deref() {
        None => Ok(None),
        Some("iam") => {
            required(lookup, "AWS_REGION", "the database's region, for DATABASE_AUTH=iam").map(Some)
        }
        Some(_) => Err(error(
            "DATABASE_AUTH",
            "is not known; it must be iam, or unset to use the password of DATABASE_URL",
        )),
    }
}

/// By default only if it is certain that there is no pooler in between: RDS Proxy has an endpoint of its own.
fn may_prepare(lookup: Lookup<'_>, driver: &tokio_postgres::Config) -> Result<bool, SettingError> {
    match optional(lookup, "DATABASE_PREPARE").as_deref() {
        None | Some("auto") => {
            Ok(driver.get_hostaddrs().is_empty() && driver.get_hosts().iter().all(is_rds_endpoint))
        }
        Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(_) => Err(error(
            "DATABASE_PREPARE",
            "is not known; it must be on, off, or auto, which is on for the endpoints of RDS and Aurora only",
        )),
    }
}

fn is_rds_endpoint(host: &Host) -> bool {
    let Host::Tcp(name) = host else { return false };
    let name = name.to_ascii_lowercase();
    let is_rds = name.ends_with(".rds.amazonaws.com") || name.ends_with(".rds.amazonaws.com.cn");
    is_rds && !name.contains(".proxy-")
}

/// A token replaces the password, and is for one host.
fn check_iam(driver: &tokio_postgres::Config) -> Result<(), SettingError> {
    if driver.get_password().is_some() {
        return Err(error(
            "DATABASE_AUTH",
            "is iam, but DATABASE_URL has a password; take one of the two out",
        ));
    }
    match driver.get_hosts() {
        [Host::Tcp(_)] => Ok(()),
        _ => Err(error("DATABASE_AUTH", "is iam, so DATABASE_URL must name one host, which is no socket")),
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => is_loopback(name),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepares(host: &str, setting: Option<&str>) -> Result<bool, SettingError> {
        let lookup = |name: &str| match name {
            "DATABASE_URL" => Some(format!("postgres://service:secret@{host}/flags")),
            "DATABASE_PREPARE" => setting.map(str::to_owned),
            _ => None,
        };
        DatabaseSettings::read(&lookup).map(|settings| settings.may_prepare)
    }

    #[test]
    fn statements_are_named_by_default_where_there_can_be_no_pooler() {
        for (host, expected) in [
            ("flags.abc123.eu-central-1.rds.amazonaws.com", true),
            ("Flags.cluster-abc123.eu-central-1.RDS.amazonaws.com", true),
            ("flags.abc123.cn-north-1.rds.amazonaws.com.cn", true),
            ("a.abc123.eu-central-1.rds.amazonaws.com,b.abc123.eu-central-1.rds.amazonaws.com", true),
            ("flags.proxy-abc123.eu-central-1.rds.amazonaws.com", false),
            ("reads.endpoint.proxy-abc123.eu-central-1.rds.amazonaws.com", false),
            ("a.abc123.eu-central-1.rds.amazonaws.com,pgbouncer.internal", false),
            ("rds.amazonaws.com.example.test", false),
            ("localhost", false),
            ("%2Fvar%2Frun%2Fpostgresql", false),
        ] {
            for setting in [None, Some("auto"), Some("")] {
                assert_eq!(prepares(host, setting).unwrap(), expected, "{host} {setting:?}");
            }
            assert!(prepares(host, Some("on")).unwrap());
            assert!(!prepares(host, Some("off")).unwrap());
        }
        let error =
            prepares("localhost", Some("yes")).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("DATABASE_PREPARE"), "{error}");
    }
}

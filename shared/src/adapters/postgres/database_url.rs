//! Parses `DATABASE_URL`. Errors name what cannot be used and what to use instead, but never show a value: any part
//! of a URL may turn out to be a piece of a password.

use std::error::Error as _;

use tokio_postgres::config::Host;

pub(super) const WHAT: &str = "a PostgreSQL URL such as postgres://user:password@host:5432/database";

/// Returns `sslmode` separately, because the driver knows only three of its values.
pub(super) fn parse(url: &str) -> Result<(tokio_postgres::Config, Option<String>), String> {
    let rest = without_scheme(url)?;
    // Like the driver: a user name or password may contain the separators of other parts.
    let (login, address) = rest.split_once('@').map_or(("", rest), |(login, address)| (login, address));
    if address.contains('@') {
        return Err(
            "has more than one @; write %40 for one in the user name, the password or a parameter".into()
        );
    }
    let (base, query) = address.split_once('?').unwrap_or((address, ""));
    let mut mode = None;
    let mut parameters = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) =
            parameter.split_once('=').map_or((parameter, None), |(name, value)| (name, Some(value)));
        let shown = shown(name, login);
        let value = value.ok_or_else(|| format!("has {shown} without a value"))?;
        match name {
            "sslmode" => mode = Some(value.to_owned()),
            // The driver supports lists of hosts only before the path.
            "host" => parameters.extend(value.split(',').map(|host| format!("host={host}"))),
            _ => {
                check_parameter(name, value).map_err(|reason| format!("has {shown}, {reason}"))?;
                parameters.push(parameter.to_owned());
            }
        }
    }
    let at = if rest.contains('@') { "@" } else { "" };
    let separator = if parameters.is_empty() { "" } else { "?" };
    let url = format!("postgres://{login}{at}{base}{separator}{}", parameters.join("&"));
    let driver: tokio_postgres::Config = url.parse().map_err(|error| unreadable(&error))?;
    check_hosts(&driver)?;
    for (part, is_there) in
        [("user", driver.get_user().is_some()), ("database", driver.get_dbname().is_some())]
    {
        if !is_there {
            return Err(format!("names no {part}; it must be {WHAT}"));
        }
    }
    Ok((driver, mode))
}

/// Strips the scheme, which must be PostgreSQL's.
fn without_scheme(url: &str) -> Result<&str, String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("is not a URL; it must be {WHAT}"));
    };
    if ["postgres", "postgresql"].iter().any(|ours| scheme.eq_ignore_ascii_case(ours)) {
        return Ok(rest);
    }
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.len() <= 32
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.:".contains(c));
    let scheme = if is_scheme { format!("a {scheme}:// URL") } else { "a URL of another scheme".to_owned() };
    Err(format!("is {scheme}; it must be {WHAT}"))
}

/// A parameter for an error message. Anything that is not a name, or is the user or password, is not shown.
fn shown(name: &str, login: &str) -> String {
    let is_name = (1..=40).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        && login.split(':').all(|part| part != name);
    if is_name { format!("the parameter `{name}`") } else { "a parameter".to_owned() }
}

/// The error completes a sentence that starts with the parameter.
fn check_parameter(name: &str, value: &str) -> Result<(), &'static str> {
    const CLIENT_CERTIFICATE: &str =
        "but client certificates are not supported; use a password, or DATABASE_AUTH=iam";
    const NO_FILES: &str =
        "which is not supported; write what it would say into the URL, or use DATABASE_AUTH=iam";
    const UNKNOWN: &str = "which is not known; leave it out";
    const SECONDS: &str = "which must be a whole number of seconds";
    let expected = match name {
        "user" | "password" | "dbname" | "options" | "application_name" => {
            "which must be UTF-8 after percent decoding"
        }
        "hostaddr" => "which must be an IP address, or a list of them with commas, one for each host",
        "port" => "which must be a number from 1 to 65535, or a list of them with commas, one for each host",
        "connect_timeout" | "keepalives_idle" | "keepalives_interval" => SECONDS,
        "tcp_user_timeout" => "which must be a whole number",
        "keepalives" => "which must be 0 or 1",
        "keepalives_retries" => "which must be a whole number, not below 0",
        "target_session_attrs" => "which must be any, read-write or read-only",
        "channel_binding" => "which must be disable, prefer or require",
        "load_balance_hosts" => "which must be disable or random",
        "sslnegotiation" => "which must be postgres or direct",
        "sslrootcert" => {
            return Err("which is not supported; use DATABASE_CA_FILE for a file of certificates to trust");
        }
        "sslcert" | "sslkey" | "sslpassword" | "sslcertmode" => return Err(CLIENT_CERTIFICATE),
        "passfile" | "service" | "servicefile" => return Err(NO_FILES),
        "sslcrl" | "sslcrldir" => return Err("but revocation lists are not supported; leave it out"),
        "keepalives_count" => return Err("which is not known; use keepalives_retries"),
        "ssl" | "tls" | "requiressl" => {
            return Err("which is not known; use sslmode=verify-full or leave it out");
        }
        _ => return Err(UNKNOWN),
    };
    // Let the driver validate the value.
    let alone = format!("postgres://host/database?{name}={value}").parse::<tokio_postgres::Config>();
    let is_read = alone.is_ok_and(|driver| name != "port" || !driver.get_ports().contains(&0));
    if is_read { Ok(()) } else { Err(expected) }
}

/// Translates an error of the driver into one that shows nothing of the URL.
fn unreadable(error: &tokio_postgres::Error) -> String {
    let reason = error.source().map(ToString::to_string).unwrap_or_default();
    if reason.contains("`port`") {
        "has a port that is not a number from 1 to 65535".to_owned()
    } else if reason.contains("`host`") {
        "has a host that cannot be read; an IPv6 address is written in brackets".to_owned()
    } else {
        format!("cannot be read; it must be {WHAT}")
    }
}

/// Faults that the driver would find only when it connects.
fn check_hosts(driver: &tokio_postgres::Config) -> Result<(), String> {
    let hosts = driver.get_hosts();
    if hosts.is_empty() || hosts.contains(&Host::Tcp(String::new())) {
        return Err(format!("names no host, or an empty one; it must be {WHAT}"));
    }
    if !driver.get_hostaddrs().is_empty() && driver.get_hostaddrs().len() != hosts.len() {
        return Err("has the parameter `hostaddr`, which must be one IP address for each host".to_owned());
    }
    if driver.get_ports().contains(&0) {
        return Err("has a port that is not a number from 1 to 65535".to_owned());
    }
    if driver.get_ports().len() > 1 && driver.get_ports().len() != hosts.len() {
        return Err(
            "has the parameter `port`, which must be one port for each host, and is for hosts in the query only; elsewhere write host:port".to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::settings::DatabaseSettings;
    use crate::config::SettingError;

    fn database(url: &str) -> Result<DatabaseSettings, SettingError> {
        DatabaseSettings::read(&|name| (name == "DATABASE_URL").then(|| url.to_owned()))
    }

    #[test]
    fn a_bad_url_is_refused_without_showing_it() {
        for url in [
            "x:topsecret@host",
            "postgres://user:topsecret@:abc/db",
            "postgres://:topsecret@",
            "mysql://u:topsecret@h/d",
        ] {
            let error = database(url).err().unwrap();
            assert!(!error.to_string().contains("topsecret"), "{error}");
        }
    }

    #[test]
    fn tls_is_left_out_on_this_machine_only() {
        for (url, tls) in [
            ("postgres://u:p@127.0.0.1:5432/d", false),
            ("postgres://u:p@localhost/d?sslmode=prefer", false),
            ("postgres://u:p@localhost/d?sslmode=verify-full", true),
            ("postgres://u:p@[::1]/d", false),
            ("postgres://u:p@db.example.com/d", true),
            ("postgres://u:p@db.example.com/d?application_name=x&sslmode=require", true),
        ] {
            assert_eq!(database(url).unwrap_or_else(|error| panic!("{url}: {error}")).tls, tls, "{url}");
        }
        assert!(database("postgres://u:p@db.example.com/d?sslmode=disable").is_err());
        assert!(database("postgres://u:p@db.example.com/d?sslmode=maybe").is_err());
    }

    #[test]
    fn an_address_elsewhere_is_not_local_whatever_the_host_is_called() {
        let url = |address: &str| format!("postgres://u:p@localhost/d?hostaddr={address}");
        assert!(!database(&url("127.0.0.1")).unwrap().tls);
        assert!(database(&url("10.0.0.5")).unwrap().tls);
        assert!(database(&format!("{}&sslmode=disable", url("10.0.0.5"))).is_err());
    }

    #[test]
    fn iam_means_tls_also_on_this_machine() {
        let read = |url: &str, auth: &str, region: Option<&str>| {
            DatabaseSettings::read(&|name| match name {
                "DATABASE_URL" => Some(url.to_owned()),
                "DATABASE_AUTH" => Some(auth.to_owned()),
                "AWS_REGION" => region.map(str::to_owned),
                _ => None,
            })
        };
        let settings = read("postgres://u@localhost/d", "iam", Some("eu-west-1")).unwrap();
        assert!(settings.tls);
        assert_eq!(settings.iam_region.as_deref(), Some("eu-west-1"));
        let settings = read("postgres://u:p@localhost/d", " ", None).unwrap();
        assert_eq!((settings.tls, settings.iam_region), (false, None));
    }

    #[test]
    fn a_parameter_that_cannot_be_used_is_named_with_what_to_use_instead() {
        for (parameter, expected) in [
            ("sslrootcert=topsecret.pem", "`sslrootcert`, which is not supported; use DATABASE_CA_FILE"),
            ("sslcert=topsecret", "`sslcert`, but client certificates are not supported"),
            ("sslkey=topsecret", "`sslkey`, but client certificates are not supported"),
            ("sslpassword=topsecret", "`sslpassword`, but client certificates are not supported"),
            ("passfile=topsecret", "`passfile`, which is not supported"),
            ("service=topsecret", "`service`, which is not supported"),
            ("sslmode=topsecret", "unknown sslmode"),
            ("sslmode=", "unknown sslmode"),
            ("sslmode", "`sslmode` without a value"),
            ("connect_timeout=topsecret", "`connect_timeout`, which must be a whole number of seconds"),
            ("port=topsecret", "`port`, which must be a number"),
            ("port=0", "`port`, which must be a number"),
            ("port=65536", "`port`, which must be a number"),
            ("port=5433", "`port`, which must be one port for each host"),
            ("hostaddr=topsecret", "`hostaddr`, which must be an IP address"),
            ("hostaddr=127.0.0.1,127.0.0.2", "`hostaddr`, which must be one IP address for each host"),
            (
                "target_session_attrs=primary",
                "`target_session_attrs`, which must be any, read-write or read-only",
            ),
            ("load_balance_hosts=yes", "`load_balance_hosts`, which must be"),
            ("channel_binding=yes", "`channel_binding`, which must be"),
            ("keepalives=topsecret", "`keepalives`, which must be"),
            ("pgbouncer=true", "`pgbouncer`, which is not known"),
            ("Sslmode=disable", "`Sslmode`, which is not known"),
            ("application_name=a&schema=topsecret", "`schema`, which is not known"),
            ("hunter2=1", "a parameter, which is not known"),
            ("%68unter=1", "a parameter, which is not known"),
        ] {
            let error = database(&format!("postgres://u:hunter2@h/d?{parameter}")).err().unwrap().to_string();
            assert!(error.starts_with("DATABASE_URL has "), "{parameter}: {error}");
            assert!(error.contains(expected), "{parameter}: {error}");
            assert!(!error.contains("topsecret") && !error.contains("hunter2"), "{parameter}: {error}");
        }
    }

    #[test]
    fn what_is_wrong_before_the_parameters_is_named() {
        for (url, expected) in [
            ("mysql://u:topsecret@h/d", "is a mysql:// URL; it must be a PostgreSQL URL"),
            ("postgresql+asyncpg://u:topsecret@h/d", "is a postgresql+asyncpg:// URL"),
            ("jdbc:postgresql://h/d?user=u&password=topsecret", "is a jdbc:postgresql:// URL"),
            ("top secret://u@h/d", "is a URL of another scheme"),
            ("host=h user=u password=topsecret", "is not a URL"),
            ("postgres://u:topsecret@h:x/d", "has a port that is not a number"),
            ("postgres://u:topsecret@h:0/d", "has a port that is not a number"),
            ("postgres://u:topsecret@[::1/d", "has a host that cannot be read"),
            ("postgres://u:topsecret@h", "names no database"),
            ("postgres://u:topsecret@/d", "names no host"),
            ("postgres://u:topsecret@a,,b/d", "names no host, or an empty one"),
            ("postgres://h/d", "names no user"),
            ("postgres://u:top@secret@h/d", "has more than one @; write %40"),
            ("postgres://u:top@se?cret=@h/d", "has more than one @; write %40"),
        ] {
            let error = database(url).err().unwrap().to_string();
            assert!(error.starts_with(&format!("DATABASE_URL {expected}")), "{url}: {error}");
            assert!(!error.contains("topsecret"), "{url}: {error}");
        }
    }

    #[test]
    fn hosts_ports_and_addresses_are_read_wherever_they_are() {
        let read = |url: &str| database(url).unwrap_or_else(|error| panic!("{url}: {error}")).driver;
        for (url, hosts, ports) in [
            ("postgres://u:p@a/d", 1, vec![5432]),
            ("POSTGRESQL://u:p@a/d", 1, vec![5432]),
            ("postgres://u:p?w&x@a:1/d?sslmode=verify-full", 1, vec![1]),
            ("postgres://u:p@a:1,b:2,c/d?target_session_attrs=read-write", 3, vec![1, 2, 5432]),
            ("postgres://u:p@/d?host=a&host=b&port=1,2", 2, vec![1, 2]),
            ("postgres:///d?user=u&host=a,b&port=1,2&&", 2, vec![1, 2]),
            ("postgres:///d?user=u&host=a,b&port=1", 2, vec![1]),
            ("postgres://u:p@%2Fvar%2Frun,a/d", 2, vec![5432, 5432]),
            ("postgres://u:p@[::1]:7,a/d", 2, vec![7, 5432]),
        ] {
            let driver = read(url);
            assert_eq!((driver.get_hosts().len(), driver.get_ports()), (hosts, &ports[..]), "{url}");
            assert_eq!((driver.get_user(), driver.get_dbname()), (Some("u"), Some("d")), "{url}");
        }
        let addresses = read("postgres://u:p@a,b/d?hostaddr=10.0.0.1,::1");
        assert_eq!(addresses.get_hostaddrs().len(), 2);
        assert_eq!(read("postgres://u:p?w&x@a/d").get_password(), Some(&b"p?w&x"[..]));
    }
}

//! The settings of `stack run`, checked before anything is started.

use std::net::{IpAddr, TcpListener};
use std::time::Duration;

use common::{Error, Result, settings};

pub struct Settings {
    pub port: u16,
    /// Time between two runs of the processor.
    pub tick: Duration,
    /// A database to use instead of one of our own.
    pub database_url: Option<String>,
    /// Where containers reach this machine, unless they reach its loopback device.
    pub containers: Option<IpAddr>,
    /// Web origins whose pages may call the API.
    pub cors_allowed_origins: Vec<String>,
    /// Whether tokens are verified before the functions too.
    pub gateway_authorizer: bool,
}

impl Settings {
    pub fn read() -> Result<Self> {
        let port = number("PORT", 9000)?;
        let Some(port) = u16::try_from(port).ok().filter(|port| *port > 0) else {
            return Err(Error::new(format!("PORT is {port}: it must be a number from 1 to 65535")));
        };
        let tick = number("TICK_SECONDS", 60)?;
        if tick == 0 {
            return Err(Error::new("TICK_SECONDS is 0: it must be at least 1"));
        }
        if TcpListener::bind(("127.0.0.1", port)).is_err() {
            return Err(Error::new(format!(
                "port {port} is taken: stop what listens there, or choose another with `make run PORT=...`"
            )));
        }
        let containers = settings::get("CONTAINERS_AT").map(|text| {
            text.parse().map_err(|_| Error::new(format!("CONTAINERS_AT is {text}: it must be an IP address")))
        });
        Ok(Self {
            port,
            tick: Duration::from_secs(tick),
            database_url: settings::get("DATABASE_URL"),
            containers: containers.transpose()?,
            cors_allowed_origins: origins()?,
            gateway_authorizer: gateway_authorizer()?,
        })
    }
}

/// What the template's parameter CorsAllowedOrigins may be.
fn origins() -> Result<Vec<String>> {
    let text = settings::get("CORS_ALLOWED_ORIGINS").unwrap_or_default();
    let origins: Vec<String> = text.split(',').filter(|_| !text.is_empty()).map(str::to_owned).collect();
    let is_origin = |origin: &String| {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ']))
    };
    if origins.iter().all(is_origin) {
        return Ok(origins);
    }
    Err(Error::new(format!(
        "CORS_ALLOWED_ORIGINS is {text}: it must be origins such as http://localhost:5173, separated by commas"
    )))
}

fn gateway_authorizer() -> Result<bool> {
    match settings::get("GATEWAY_AUTHORIZER").as_deref() {
        None | Some("off") => Ok(false),
        Some("on") => Ok(true),
        Some(text) => Err(Error::new(format!("GATEWAY_AUTHORIZER is {text}: it must be on or off"))),
    }
}

fn number(name: &str, default: u64) -> Result<u64> {
    match settings::get(name) {
        None => Ok(default),
        Some(text) => {
            let digits = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
            digits.ok_or_else(|| Error::new(format!("{name} is {text}: it must be a positive whole number")))
        }
    }
}

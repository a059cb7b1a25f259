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
        })
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

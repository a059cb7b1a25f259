//! Opens connections, combining address, TLS and credentials, for the service and for `migrate`.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::ClientWrapper;
use futures_util::TryFutureExt;
use thiserror::Error;
use tokio::time::timeout;
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres::{CancelToken, Config, NoTls};

use super::iam::{DatabaseUser, IamTokenError, Tokens};
use super::settings::DatabaseSettings;
use super::tls::{ConnectionsError, Tls, connector};
use crate::error::chain;

const DEFAULT_PORT: u16 = 5432;

/// Per host, while there are others to try.
const HOST_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Connector {
    /// One per host, in the configured order. The driver would try all of them itself, but would spend its whole
    /// limit on a first host that does not respond, and wait forever for one that accepts and stays silent.
    hosts: Vec<Config>,
    /// Index of the host to try first: the last one that accepted us.
    first: AtomicUsize,
    /// For all hosts together.
    limit: Duration,
    tls: Option<Tls>,
    tokens: Option<Tokens>,
    /// Whether statements may have names: not through a pooler, where the next one may run in another session.
    pub(super) may_prepare: bool,
}

/// Why a connection could not be opened.
#[derive(Debug, Error)]
pub(super) enum OpenError {
    #[error("there is no IAM token for the database")]
    Token(#[from] IamTokenError),
    /// The server was unreachable, was not the right one, or rejected us.
    #[error(transparent)]
    Driver(#[from] tokio_postgres::Error),
    #[error("the database did not answer in time")]
    TooSlow,
}

impl Connector {
    /// Opens nothing yet. `name` is the server's `application_name`; `limit` is for opening one connection, across
    /// all hosts.
    pub(super) fn new(
        settings: &DatabaseSettings,
        name: &str,
        limit: Duration,
    ) -> Result<Self, ConnectionsError> {
        let mut driver = settings.driver.clone();
        driver.application_name(name).connect_timeout(limit);
        let tokens =
            settings.iam_region.as_deref().and_then(|region| subject(&driver, region)).map(Tokens::new);
        let hosts = one_by_one(&driver);
        let first = match driver.get_load_balance_hosts() {
            // The driver would shuffle; with one connection per instance, a random start spreads the load as well.
            LoadBalanceHosts::Random => {
                usize::from(RandomState::new().hash_one(()).to_le_bytes()[0]) % hosts.len().max(1)
            }
            _ => 0,
        };
        Ok(Self {
            hosts,
            first: AtomicUsize::new(first),
            limit,
            tls: connector(settings)?,
            tokens,
            may_prepare: settings.may_prepare,
        })
    }

    /// Opens a connection to the first host that accepts us. Dropping it closes it at once, whatever the server does.
    pub(super) async fn open(&self) -> Result<ClientWrapper, OpenError> {
        let deadline = Instant::now() + self.limit;
        let password = match &self.tokens {
            Some(tokens) => Some(tokens.token().await?),
            None => None,
        };
        let count = self.hosts.len();
        let first = self.first.load(Ordering::Relaxed);
        let mut failure = OpenError::TooSlow;
        for tried in 0..count {
            let index = (first + tried) % count;
            let mut driver = self.hosts[index].clone();
            if let Some(password) = &password {
                driver.password(password);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = limit_of_next(left, count - tried - 1);
            let opened = match timeout(limit, self.connect(&driver)).await {
                Ok(opened) => opened.map_err(OpenError::from),
                Err(_) => Err(OpenError::TooSlow),
            };
            match opened {
                Ok(client) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(client);
                }
                Err(error) => {
                    if count > 1 {
                        tracing::warn!(host = index + 1, error = chain(&error), "a database host failed");
                    }
                    failure = error;
                }
            }
        }
        Err(failure)
    }

    async fn connect(&self, driver: &Config) -> Result<ClientWrapper, tokio_postgres::Error> {
        // A statement in progress reports the error, too.
        let log_end = |error| tracing::warn!(error = chain(&error), "a database connection has ended");
        let (client, task) = if let Some(tls) = &self.tls {
            let (client, connection) = driver.connect(tls.clone()).await?;
            (client, tokio::spawn(connection.unwrap_or_else(log_end)))
        } else {
            let (client, connection) = driver.connect(NoTls).await?;
            (client, tokio::spawn(connection.unwrap_or_else(log_end)))
        };
        Ok(ClientWrapper::new(client, task))
    }

    /// Sends a cancel request for the running statement.
    pub(super) async fn cancel(&self, token: CancelToken) -> Result<(), tokio_postgres::Error> {
        match &self.tls {
            Some(tls) => token.cancel_query(tls.clone()).await,
            None => token.cancel_query(NoTls).await,
        }
    }
}

/// The next host's share of the remaining time, with `others` after it: time that one host does not use goes to the
/// others.
fn limit_of_next(left: Duration, others: usize) -> Duration {
    match u32::try_from(others) {
        Ok(0) => left,
        Ok(others) => (left / (others + 1)).min(HOST_LIMIT),
        Err(_) => Duration::ZERO,
    }
}

/// One configuration per host. The settings guarantee that addresses and ports match the hosts.
fn one_by_one(all: &Config) -> Vec<Config> {
    let of_host = |(index, host): (usize, &Host)| {
        let mut one = Config::new();
        match host {
            Host::Tcp(name) => one.host(name),
            #[cfg(unix)]
            Host::Unix(path) => one.host_path(path),
        };
        if let Some(address) = all.get_hostaddrs().get(index) {
            one.hostaddr(*address);
        }
        if let Some(port) = all.get_ports().get(index).or_else(|| all.get_ports().first()) {
            one.port(*port);
        }
        if let Some(user) = all.get_user() {
            one.user(user);
        }
        if let Some(password) = all.get_password() {
            one.password(password);
        }
        if let Some(name) = all.get_dbname() {
            one.dbname(name);
        }
        if let Some(options) = all.get_options() {
            one.options(options);
        }
        if let Some(name) = all.get_application_name() {
            one.application_name(name);
        }
        if let Some(limit) = all.get_connect_timeout() {
            one.connect_timeout(*limit);
        }
        if let Some(limit) = all.get_tcp_user_timeout() {
            one.tcp_user_timeout(*limit);
        }
        if let Some(interval) = all.get_keepalives_interval() {
            one.keepalives_interval(interval);
        }
        if let Some(retries) = all.get_keepalives_retries() {
            one.keepalives_retries(retries);
        }
        one.keepalives(all.get_keepalives())
            .keepalives_idle(all.get_keepalives_idle())
            .ssl_mode(all.get_ssl_mode())
            .ssl_negotiation(all.get_ssl_negotiation())
            .target_session_attrs(all.get_target_session_attrs())
            .channel_binding(all.get_channel_binding())
            .load_balance_hosts(all.get_load_balance_hosts());
        one
    };
    all.get_hosts().iter().enumerate().map(of_host).collect()
}

/// The user that tokens are for. The settings guarantee one host, by name, and a user.
fn subject(driver: &Config, region: &str) -> Option<DatabaseUser> {
    let [Host::Tcp(host)] = driver.get_hosts() else { return None };
    Some(DatabaseUser {
        host: host.clone(),
        port: driver.get_ports().first().copied().unwrap_or(DEFAULT_PORT),
        user: driver.get_user()?.to_owned(),
        region: region.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_its_own_address_and_port_and_everything_else_in_common() {
        let url = "postgres://u:p@a:1,b:2/d?hostaddr=10.0.0.1,10.0.0.2&options=-c%20a%3Db&application_name=n&connect_timeout=7\
            &tcp_user_timeout=8&keepalives=0&keepalives_idle=9&keepalives_interval=10&keepalives_retries=11\
            &sslmode=require&sslnegotiation=direct&target_session_attrs=read-write&channel_binding=require\
            &load_balance_hosts=random";
        let all: Config = url.parse().unwrap();

        let hosts = one_by_one(&all);

        let alone = |host: &str, address: &str| {
            url.replace("a:1,b:2", host).replace("10.0.0.1,10.0.0.2", address).parse::<Config>().unwrap()
        };
        assert!(hosts == [alone("a:1", "10.0.0.1"), alone("b:2", "10.0.0.2")], "{hosts:?}");
    }

    #[test]
    fn a_host_has_its_share_of_the_time_that_is_left() {
        let seconds = Duration::from_secs;
        assert_eq!(limit_of_next(seconds(3), 0), seconds(3));
        assert_eq!(limit_of_next(seconds(3), 1), Duration::from_millis(1_500));
        assert_eq!(limit_of_next(seconds(3), 2), seconds(1));
        assert_eq!(limit_of_next(seconds(10), 1), seconds(2));
        assert_eq!(limit_of_next(seconds(10), 0), seconds(10));
    }

    #[test]
    fn one_port_is_for_all_hosts_and_a_socket_is_a_host() {
        let all: Config = "postgres:///d?user=u&host=%2Frun&host=a&port=7".parse().unwrap();

        let hosts = one_by_one(&all);

        let alone =
            |host: &str| format!("postgres:///d?user=u&host={host}&port=7").parse::<Config>().unwrap();
        assert!(hosts == [alone("%2Frun"), alone("a")], "{hosts:?}");
    }
}

//! Opening a connection: where address, TLS and identity come together, for the service and for `migrate`.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use futures_util::TryFutureExt;
use thiserror::Error;
use tokio_postgres::config::Host;
use tokio_postgres::{CancelToken, Config, NoTls};

use super::iam::{DatabaseUser, TokenError, Tokens};
use super::tls::{ConnectionsError, Tls, connector};
use crate::config::DatabaseSettings;
use crate::error::chain;

/// PostgreSQL's port, for a URL without one.
const DEFAULT_PORT: u16 = 5432;

/// Opens connections to one database as one role.
pub(super) struct Opener {
    driver: Config,
    tls: Option<Tls>,
    tokens: Option<Tokens>,
}

/// Why a connection could not be opened.
#[derive(Debug, Error)]
pub(super) enum OpenError {
    /// There is nothing to show to the server.
    #[error("there is no IAM token for the database")]
    Token(#[from] TokenError),
    /// The server could not be reached, was not the right one, or did not let us in.
    #[error(transparent)]
    Driver(#[from] tokio_postgres::Error),
}

impl Opener {
    /// Opens nothing yet. `name` is what the server shows of its connections.
    pub(super) fn new(
        settings: &DatabaseSettings,
        name: &str,
        limit: Duration,
    ) -> Result<Self, ConnectionsError> {
        let mut driver = settings.driver.clone();
        driver.application_name(name).connect_timeout(limit);
        let tokens =
            settings.iam_region.as_deref().and_then(|region| subject(&driver, region)).map(Tokens::new);
        Ok(Self { driver, tls: connector(settings)?, tokens })
    }

    /// Opens a connection. Dropping it closes it at once, whatever the server does.
    pub(super) async fn open(&self) -> Result<ClientWrapper, OpenError> {
        let mut driver = self.driver.clone();
        if let Some(tokens) = &self.tokens {
            driver.password(tokens.token().await?);
        }
        // What went wrong with a connection that was in use, the statement on it tells as well.
        let tell = |error| tracing::warn!(error = chain(&error), "a database connection has ended");
        let (client, task) = if let Some(tls) = &self.tls {
            let (client, connection) = driver.connect(tls.clone()).await?;
            (client, tokio::spawn(connection.unwrap_or_else(tell)))
        } else {
            let (client, connection) = driver.connect(NoTls).await?;
            (client, tokio::spawn(connection.unwrap_or_else(tell)))
        };
        Ok(ClientWrapper::new(client, task))
    }

    /// Tells the server that what runs on a connection is given up.
    pub(super) async fn cancel(&self, token: CancelToken) -> Result<(), tokio_postgres::Error> {
        match &self.tls {
            Some(tls) => token.cancel_query(tls.clone()).await,
            None => token.cancel_query(NoTls).await,
        }
    }
}

/// Whom the tokens are for. The settings have made sure that there is one host, by name, and a user.
fn subject(driver: &Config, region: &str) -> Option<DatabaseUser> {
    let [Host::Tcp(host)] = driver.get_hosts() else { return None };
    Some(DatabaseUser {
        host: host.clone(),
        port: driver.get_ports().first().copied().unwrap_or(DEFAULT_PORT),
        user: driver.get_user()?.to_owned(),
        region: region.to_owned(),
    })
}

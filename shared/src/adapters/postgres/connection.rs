//! Connection pooling and statement time limits. One connection per function instance, opened in the background at
//! startup. Limits nest: the server's lock and statement timeouts (role defaults, see the operations guide) are below
//! [`STATEMENT_LIMIT`], which is below the handler's and the function's.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use deadpool::managed::{Manager, Metrics, Pool, PoolError, RecycleError, RecycleResult};
use tokio::time::timeout;
use tokio_postgres::Row;

use super::connector::{Connector, OpenError};
use super::fault::store_error;
use super::query_error::{QueryError, TooSlow};
use super::retry::{Retry, STATEMENT_LIMIT};
use super::session::{Params, Query, Session};
use super::settings::DatabaseSettings;
use super::tls::ConnectionsError;
use crate::ports::store_error::{Fault, StoreError};

const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// Connections idle for longer are checked before use: a proxy may have dropped them silently.
const CHECK_AFTER: Duration = Duration::from_secs(30);
const CHECK_LIMIT: Duration = Duration::from_millis(300);
/// For sending the server a cancel request.
const CANCEL_LIMIT: Duration = Duration::from_millis(300);

pub(super) type Object = deadpool::managed::Object<Connector>;

pub struct Connections {
    pool: Pool<Connector>,
}

impl Connections {
    /// A pool of one connection; opens nothing yet. Fails if the certificates in the settings cannot be used.
    pub fn new(settings: &DatabaseSettings) -> Result<Self, ConnectionsError> {
        let pool = Pool::builder(Connector::new(settings, "flag-schedules", CONNECT_LIMIT)?)
            .max_size(1)
            .runtime(deadpool::Runtime::Tokio1)
            .wait_timeout(Some(STATEMENT_LIMIT))
            .create_timeout(Some(CONNECT_LIMIT))
            .recycle_timeout(Some(CHECK_LIMIT * 2))
            .build()?;
        Ok(Self { pool })
    }

    /// Opens the connection in the background; failures are left to the first request.
    pub fn open(&self) {
        let pool = self.pool.clone();
        tokio::spawn(async move {
            if let Err(error) = pool.get().await {
                tracing::debug!(%error, "no database connection yet");
            }
        });
    }

    /// A connection that was recently alive.
    pub(super) async fn get(&self, deadline: Instant) -> Result<Lease, StoreError> {
        match within(deadline, self.pool.get()).await {
            Ok(Ok(client)) => Ok(Lease(Some(client))),
            Ok(Err(PoolError::Backend(OpenError::Driver(error)))) => Err(store_error(error)),
            Ok(Err(PoolError::Backend(error))) => Err(StoreError::Unavailable(error.into())),
            Ok(Err(error)) => Err(StoreError::Unavailable(error.into())),
            Err(()) => Err(StoreError::Unavailable(TooSlow("opening a database connection").into())),
        }
    }

    /// Runs a statement that is safe to repeat: retried once if the connection turns out to be lost, and a few times
    /// on deadlocks and serialization failures.
    pub(super) async fn query(&self, query: Query<'_>, params: &Params<'_>) -> Result<Vec<Row>, QueryError> {
        self.query_reading(query, params, Ok).await
    }

    /// Like [`Self::query`] for many rows: reads each as it arrives, while the server produces the next ones.
    pub(super) async fn query_reading<T>(
        &self,
        query: Query<'_>,
        params: &Params<'_>,
        read: impl Fn(Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, QueryError> {
        self.query_until(Instant::now() + STATEMENT_LIMIT, query, params, read).await
    }

    /// Like [`Self::query_reading`], with a deadline for all attempts together.
    pub(super) async fn query_until<T>(
        &self,
        deadline: Instant,
        query: Query<'_>,
        params: &Params<'_>,
        read: impl Fn(Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, QueryError> {
        let mut retry = Retry::until(deadline);
        loop {
            match self.query_once(query, params, &read, retry.deadline).await {
                Err(error) if retry.may_repeat(&error) => {}
                result => return result,
            }
        }
    }

    pub(super) async fn query_once<T>(
        &self,
        query: Query<'_>,
        params: &Params<'_>,
        read: &impl Fn(Row) -> Result<T, StoreError>,
        deadline: Instant,
    ) -> Result<Vec<T>, QueryError> {
        let client = self.get(deadline).await?;
        let result = within(deadline, client.run(query, params, read)).await;
        self.release(client, result, "a database statement").await
    }

    /// Returns the connection to the pool or drops it, depending on the result.
    pub(super) async fn release<T, E: Into<QueryError>>(
        &self,
        client: Lease,
        result: Result<Result<T, E>, ()>,
        what: &'static str,
    ) -> Result<T, QueryError> {
        match result {
            Ok(Ok(answer)) => {
                client.give_back();
                Ok(answer)
            }
            Ok(Err(error)) => {
                let error = error.into();
                if error.fault() != Fault::Lost && !error.needs_new_connection() {
                    client.give_back();
                }
                Err(error)
            }
            Err(()) => {
                self.give_up(client).await;
                Err(QueryError::TooSlow(what))
            }
        }
    }

    /// Cancels the statement on the server, and never uses the connection again.
    async fn give_up(&self, client: Lease) {
        let cancel = client.cancel_token();
        drop(client);
        if !matches!(timeout(CANCEL_LIMIT, self.pool.manager().cancel(cancel)).await, Ok(Ok(()))) {
            tracing::warn!("the server could not be told to cancel a statement");
        }
    }
}

impl Manager for Connector {
    type Type = Session;
    type Error = OpenError;

    async fn create(&self) -> Result<Session, OpenError> {
        Ok(Session::new(self.open().await?, self.may_prepare))
    }

    async fn recycle(&self, client: &mut Session, metrics: &Metrics) -> RecycleResult<OpenError> {
        // A connection that was closed while the environment was frozen has not noticed yet: let its task run before
        // checking.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        if client.is_closed() {
            return Err(RecycleError::message("the connection was closed while idle"));
        }
        if metrics.last_used() > CHECK_AFTER {
            match timeout(CHECK_LIMIT, client.simple_query("")).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(RecycleError::Backend(error.into())),
                Err(_) => return Err(RecycleError::message("the idle connection does not answer")),
            }
        }
        Ok(())
    }
}

/// A connection in use. It is dropped instead of returned to the pool unless [`Lease::give_back`] is called, also
/// when the future that uses it is dropped halfway.
pub(super) struct Lease(Option<Object>);

impl Lease {
    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
        }
    }
}

impl Deref for Lease {
    type Target = Object;

    fn deref(&self) -> &Object {
        // Only `give_back` and `drop` take it, and both end the lease.
        self.0.as_ref().expect("a lease holds its connection until it ends")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Object {
        // As in `deref`.
        self.0.as_mut().expect("a lease holds its connection until it ends")
    }
}

/// `Err` if the deadline passes.
pub(super) async fn within<T>(deadline: Instant, future: impl Future<Output = T>) -> Result<T, ()> {
    tokio::time::timeout_at(deadline.into(), future).await.map_err(|_| ())
}

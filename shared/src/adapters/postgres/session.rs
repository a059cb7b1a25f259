//! A connection with the statements that it has prepared by name.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use deadpool_postgres::ClientWrapper;
use futures_util::{TryStreamExt, future};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, RowStream, Statement};

use super::query_error::QueryError;
use crate::error::chain;
use crate::ports::store_error::StoreError;

/// With its type, so that the statement needs no separate preparation.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

pub(super) type Params<'a> = [Param<'a>];

/// A statement as the protocol has it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Query<'a> {
    /// Parsed and planned each time, for the parameters at hand.
    Unnamed(&'a str),
    /// Prepared once for each connection, unless the settings say otherwise. The server may keep its plan, so one plan must
    /// suit all parameters.
    Named(&'a str),
}

/// A statement without its lines between `-- name:` and `-- :name`. Takes the same parameters.
pub(super) fn without(sql: &str, name: &str) -> String {
    let (begin, end) = (format!("-- {name}:"), format!("-- :{name}"));
    let mut is_inside = false;
    let mut kept = String::with_capacity(sql.len());
    for line in sql.lines() {
        let marker = line.trim_start();
        if marker == begin {
            is_inside = true;
        } else if marker == end {
            is_inside = false;
        } else if !is_inside {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// A connection.
pub(super) struct Session {
    client: ClientWrapper,
    statements: Arc<Statements>,
}

impl Session {
    pub(super) fn new(client: ClientWrapper, may_prepare: bool) -> Self {
        Self { client, statements: Arc::new(Statements { may_prepare, prepared: Mutex::default() }) }
    }

    /// For statements of a transaction.
    pub(super) fn statements(&self) -> Arc<Statements> {
        Arc::clone(&self.statements)
    }

    /// As [`Statements::run`].
    pub(super) async fn run<T>(
        &self,
        query: Query<'_>,
        params: &Params<'_>,
        read: &impl Fn(Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, QueryError> {
        self.statements.run(&self.client, query, params, read).await
    }
}

/// The statements that a connection has prepared by name.
pub(super) struct Statements {
    /// Whether statements may have names: not through a pooler.
    may_prepare: bool,
    prepared: Mutex<HashMap<String, Statement>>,
}

impl Statements {
    /// Runs a statement on their connection, and reads each row as it arrives. The first time, a named statement is prepared
    /// for the next time in the same round trip.
    pub(super) async fn run<T>(
        &self,
        client: &Client,
        query: Query<'_>,
        params: &Params<'_>,
        read: &impl Fn(Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, QueryError> {
        let unnamed = |sql| {
            client.query_typed_raw(sql, params.iter().map(|(value, of_type)| (*value, of_type.clone())))
        };
        match query {
            Query::Named(sql) if self.may_prepare => match self.prepared(sql) {
                Some(statement) => {
                    let params = params.iter().map(|(value, _)| *value);
                    read_all(client.query_raw(&statement, params), read).await
                }
                None => future::join(read_all(unnamed(sql), read), self.prepare(client, sql, params)).await.0,
            },
            Query::Named(sql) | Query::Unnamed(sql) => read_all(unnamed(sql), read).await,
        }
    }

    fn prepared(&self, sql: &str) -> Option<Statement> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned()
    }

    async fn prepare(&self, client: &Client, sql: &str, params: &Params<'_>) {
        let types: Vec<Type> = params.iter().map(|(_, of_type)| of_type.clone()).collect();
        match client.prepare_typed(sql, &types).await {
            Ok(statement) => {
                let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
                prepared.insert(sql.to_owned(), statement);
            }
            Err(error) => tracing::debug!(error = chain(&error), "a statement could not be prepared"),
        }
    }
}

async fn read_all<T>(
    rows: impl Future<Output = Result<RowStream, Error>>,
    read: &impl Fn(Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, QueryError> {
    let mut rows = pin!(rows.await?);
    let mut results = Vec::new();
    while let Some(row) = rows.try_next().await? {
        results.push(read(row)?);
    }
    Ok(results)
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        &mut self.client
    }
}

//! A connection with the statements that it has prepared by name.

use std::ops::{Deref, DerefMut};
use std::pin::pin;

use deadpool_postgres::ClientWrapper;
use futures_util::TryStreamExt;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, RowStream};

use super::query_error::QueryError;
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

/// A connection, with the statements that it has prepared by name.
pub(super) struct Session {
    client: ClientWrapper,
    /// Whether statements may have names: not through a pooler.
    may_prepare: bool,
}

impl Session {
    pub(super) fn new(client: ClientWrapper, may_prepare: bool) -> Self {
        Self { client, may_prepare }
    }

    /// Runs a statement, and reads each row as it arrives. A named statement is prepared before its first use, not in parallel
    /// with it: a preparation that waits would delay, or lose, the result of a statement that has been executed.
    pub(super) async fn run<T>(
        &self,
        query: Query<'_>,
        params: &Params<'_>,
        read: &impl Fn(Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, QueryError> {
        match query {
            Query::Named(sql) if self.may_prepare => {
                let types: Vec<Type> = params.iter().map(|(_, of_type)| of_type.clone()).collect();
                let statement = self.client.prepare_typed_cached(sql, &types).await?;
                let params = params.iter().map(|(value, _)| *value);
                read_all(self.client.query_raw(&statement, params), read).await
            }
            Query::Named(sql) | Query::Unnamed(sql) => run_unnamed(&self.client, sql, params, read).await,
        }
    }
}

/// Runs an unnamed statement, and reads each row as it arrives.
pub(super) async fn run_unnamed<T>(
    client: &Client,
    sql: &str,
    params: &Params<'_>,
    read: &impl Fn(Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, QueryError> {
    let params = params.iter().map(|(value, of_type)| (*value, of_type.clone()));
    read_all(client.query_typed_raw(sql, params), read).await
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

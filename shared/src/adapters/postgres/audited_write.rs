//! Writes a schedule change with its audit event in one statement, or without the outbox if that cannot be written.

use std::time::{Duration, Instant};

use deadpool_postgres::Transaction;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Json, ToSql, Type};
use tokio_postgres::{IsolationLevel, Row};

use super::Postgres;
use super::connection::{Connections, Object, within};
use super::query_error::QueryError;
use super::retry::Retry;
use super::rows::field;
use super::session::{Param, Params, Query, without};
use crate::domain::audit_event::EventDraft;
use crate::domain::schedule::Schedule;
use crate::ports::outbox::FallbackLog;
use crate::ports::schedules::{CommittedChange, EventRoute};
use crate::ports::store_error::{Fault, StoreError};

const TRANSACTION_STATUS: &str = include_str!("sql/transaction_status.sql");
/// Succeeds if the outbox can be written without waiting for a lock.
const LOCK_OUTBOX: &str = "lock table audit_outbox in row exclusive mode nowait";
/// How long to ask for a transaction's outcome after losing the response to its commit.
const CONFIRM_LIMIT: Duration = Duration::from_secs(2);
/// Between those queries, while the server is still working on the transaction.
const CONFIRM_PAUSE: Duration = Duration::from_millis(50);

/// Makes a change and writes its audit event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement(pub(super) &'static str);

impl Statement {
    pub(super) fn with_event(self) -> &'static str {
        self.0
    }

    /// For when the outbox cannot be written. Takes the same parameters.
    pub(super) fn without_outbox(self) -> String {
        without(self.0, "outbox")
    }
}

/// A create or a cancel.
pub(super) struct AuditedWrite<'a> {
    pub(super) statement: Statement,
    /// All but the last three: the event's id, its context, and whether an earlier attempt was lost.
    pub(super) params: &'a Params<'a>,
    pub(super) event: &'a EventDraft,
    /// The schedule, if the row shows that this write stored it, in this attempt or a lost one.
    pub(super) stored: fn(&Row) -> Result<Option<Schedule>, StoreError>,
}

pub(super) struct WriteResult {
    pub(super) row: Row,
    pub(super) stored: Option<Box<CommittedChange>>,
}

impl AuditedWrite<'_> {
    /// Calls `route` only for a row that stored something.
    fn result(
        &self,
        row: Row,
        route: impl FnOnce(&Schedule) -> Result<EventRoute, StoreError>,
    ) -> Result<WriteResult, StoreError> {
        let stored = match (self.stored)(&row)? {
            Some(schedule) => Some(Box::new(CommittedChange { route: route(&schedule)?, schedule })),
            None => None,
        };
        Ok(WriteResult { row, stored })
    }
}

impl Postgres {
    /// Writes a change together with its audit event. If that fails but succeeds without the outbox, the outbox is at
    /// fault: the event is logged before the commit, and returned to be sent directly.
    pub(super) async fn write_audited(
        &self,
        write: &AuditedWrite<'_>,
        fallback_log: &dyn FallbackLog,
    ) -> Result<WriteResult, QueryError> {
        let context = Json(&write.event.context);
        let params = |lost: bool| -> Vec<Param<'_>> {
            let lost: &(dyn ToSql + Sync) = if lost { &true } else { &false };
            let event =
                [(&write.event.id.0 as _, Type::UUID), (&context as _, Type::JSONB), (lost, Type::BOOL)];
            [write.params, &event].concat()
        };
        let mut retry = Retry::new();
        let error = loop {
            match self.write_with_outbox(write, &params(retry.lost), retry.deadline).await {
                Ok(result) if result.stored.is_none() && retry.may_look_again() => continue,
                Ok(result) => return Ok(result),
                Err(error) if retry.may_repeat_write(&error) => continue,
                Err(error) => break error,
            }
        };
        if !self.may_be_outbox(&error, retry.deadline).await {
            return Err(retry.conclude(error));
        }
        let reason = error.message();
        loop {
            match self
                .write_without_outbox(write, &params(retry.lost), &reason, retry.deadline, fallback_log)
                .await
            {
                Ok(result) => return Ok(result),
                Err(again) if retry.may_repeat_write(&again) => continue,
                // The same with and without the outbox: report the first error.
                Err(again) if again.fault() == error.fault() => return Err(retry.conclude(error)),
                Err(again) => return Err(retry.conclude(again)),
            }
        }
    }

    /// Whether to try without the outbox. A refused lock may have been on the flag or the schedule, so the outbox's
    /// lock is probed; other errors do not say which table caused them.
    async fn may_be_outbox(&self, error: &QueryError, deadline: Instant) -> bool {
        match error.fault() {
            Fault::Lost | Fault::Conflict | Fault::TooSlow | Fault::ServerUnavailable => false,
            Fault::Locked => self.is_outbox_locked(deadline).await,
            Fault::Rejected | Fault::Other => matches!(error, QueryError::Driver(_)),
        }
    }

    async fn is_outbox_locked(&self, deadline: Instant) -> bool {
        let Ok(mut client) = self.connections.get(deadline).await else { return false };
        let probe = within(deadline, async {
            let transaction = begin(&mut client).await?;
            let locked = transaction.batch_execute(LOCK_OUTBOX).await;
            transaction.rollback().await?;
            Ok::<_, QueryError>(locked)
        });
        let probed = probe.await;
        let locked = self.connections.release(client, probed, "asking for a lock").await;
        matches!(locked, Ok(Err(error)) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
    }

    async fn write_with_outbox(
        &self,
        write: &AuditedWrite<'_>,
        params: &Params<'_>,
        deadline: Instant,
    ) -> Result<WriteResult, QueryError> {
        let rows = self
            .connections
            .query_once(Query::Named(write.statement.with_event()), params, &Ok, deadline)
            .await?;
        Ok(write.result(only(rows)?, |_| Ok(EventRoute::Outbox))?)
    }

    async fn write_without_outbox(
        &self,
        write: &AuditedWrite<'_>,
        params: &Params<'_>,
        reason: &str,
        deadline: Instant,
        fallback_log: &dyn FallbackLog,
    ) -> Result<WriteResult, QueryError> {
        let mut client = self.connections.get(deadline).await?;
        let mut prepared = None;
        let writing = async {
            let transaction = begin(&mut client).await?;
            let row = transaction.query_typed_one(&write.statement.without_outbox(), params).await?;
            let transaction_id = field(&row, "transaction_id")?;
            let result = write.result(row, |schedule| {
                let event = write.event.complete(schedule);
                let event = event.map_err(|error| StoreError::Internal(error.into()))?;
                fallback_log.log_in_full(&event, reason);
                Ok(EventRoute::Direct(Box::new(event)))
            })?;
            prepared = Some(Prepared { transaction_id, value: result });
            Ok(transaction.commit().await?)
        };
        let result: Result<Result<(), QueryError>, ()> = within(deadline, writing).await;
        let result = self.connections.release(client, result, "a change without the outbox").await;
        confirm(&self.connections, result, prepared).await
    }
}

fn only(rows: Vec<Row>) -> Result<Row, QueryError> {
    let count = rows.len();
    let one = <[Row; 1]>::try_from(rows).map(|[row]| row);
    one.map_err(|_| StoreError::Internal(format!("expected one row, got {count}").into()).into())
}

/// Does not rely on the database's default isolation level.
pub(super) async fn begin(client: &mut Object) -> Result<Transaction<'_>, tokio_postgres::Error> {
    client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await
}

/// A transaction that is ready to commit.
pub(super) struct Prepared<T> {
    /// `None` for one that has written nothing.
    pub(super) transaction_id: Option<String>,
    pub(super) value: T,
}

/// The outcome of a transaction. If it was prepared and the response to its commit was lost, asks the server.
pub(super) async fn confirm<T>(
    connections: &Connections,
    result: Result<(), QueryError>,
    prepared: Option<Prepared<T>>,
) -> Result<T, QueryError> {
    match (result, prepared) {
        (Ok(()), Some(Prepared { value, .. })) => Ok(value),
        (Ok(()), None) => Err(StoreError::Internal("a transaction ended without a result".into()).into()),
        (Err(error), Some(Prepared { transaction_id: Some(id), value }))
            if matches!(error.fault(), Fault::Lost | Fault::TooSlow) =>
        {
            match is_committed(connections, &id).await {
                Some(true) => Ok(value),
                Some(false) | None => Err(error),
            }
        }
        (Err(error), _) => Err(error),
    }
}

/// `None` when the server cannot be asked in time.
async fn is_committed(connections: &Connections, transaction_id: &str) -> Option<bool> {
    let deadline = Instant::now() + CONFIRM_LIMIT;
    while Instant::now() < deadline {
        let params: &Params<'_> = &[(&transaction_id, Type::TEXT)];
        let rows = connections.query_once(Query::Unnamed(TRANSACTION_STATUS), params, &Ok, deadline).await;
        match rows.ok().as_deref().and_then(<[Row]>::first).map(|row| row.try_get("status")) {
            Some(Ok(Some("committed"))) => return Some(true),
            Some(Ok(Some("aborted") | None)) => return Some(false),
            // Still in progress, or the server could not be reached.
            Some(_) | None => tokio::time::sleep(CONFIRM_PAUSE).await,
        }
    }
    tracing::error!(transaction_id, "it is not known whether a transaction was committed");
    None
}

#[cfg(test)]
mod tests {
    use super::super::{due, schedules};

    #[test]
    fn what_is_left_without_the_outbox_does_not_name_it() {
        for change in [schedules::CREATE, schedules::CANCEL, due::RECORD] {
            assert!(change.with_event().contains("insert into audit_outbox"));

            let alone = change.without_outbox();

            assert!(!alone.contains("outbox"), "{alone}");
            assert!(alone.contains("feature_flag_schedules"), "{alone}");
        }
    }
}

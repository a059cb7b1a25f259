//! [`AuditOutbox`] on PostgreSQL: row locks hold the events in delivery, so those of a killed process are free at
//! once.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Postgres;
use super::audited_write::begin;
use super::connection::{Object, within};
use super::query_error::QueryError;
use super::rows::{Place, RawJson, duration, field, unsigned};
use super::session::{Param, Query, run_unnamed};
use crate::domain::audit_event::{AuditEvent, EventId, EventType};
use crate::error::BoxError;
use crate::ports::outbox::{
    AuditBacklog, AuditOutbox, DeliveryCounts, DeliveryOutcome, EventSender, OutboxRow, Selection,
    Unrenderable,
};
use crate::ports::store_error::StoreError;

const HOLD: &str = include_str!("sql/hold_events.sql");
const DELETE_HELD: &str = include_str!("sql/delete_held_events.sql");
const DELETE: &str = include_str!("sql/delete_events.sql");
const MARK: &str = include_str!("sql/mark_events.sql");
const COUNT: &str = include_str!("sql/count_events.sql");

/// Maximum time reserved for storing the outcome of a delivery.
const SETTLE_RESERVE: Duration = Duration::from_millis(300);
/// Maximum time reserved for cancelling an overdue delivery on the server.
const CANCEL_RESERVE: Duration = Duration::from_millis(200);
/// The transaction that holds the rows is idle while the sender works; the interval is well within
/// `idle_in_transaction_session_timeout` (10 s as a role default).
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(3);

/// Deadlines for the parts of a delivery, each leaving time for the next.
#[derive(Debug, Clone, Copy)]
struct Deadlines {
    sending: Instant,
    settling: Instant,
    giving_up: Instant,
}

impl Deadlines {
    fn before(deadline: Instant) -> Self {
        let left = deadline.saturating_duration_since(Instant::now());
        let cancel = CANCEL_RESERVE.min(left / 8);
        let settle = SETTLE_RESERVE.min(left / 4);
        Self { sending: deadline - cancel - settle, settling: deadline - cancel, giving_up: deadline }
    }
}

#[async_trait]
impl AuditOutbox for Postgres {
    async fn deliver(
        &self,
        which: Selection<'_>,
        sender: &dyn EventSender,
        deadline: Instant,
    ) -> Result<DeliveryCounts, StoreError> {
        let deadlines = Deadlines::before(deadline);
        let mut client = self.connections.get(deadlines.sending).await?;
        let result = within(deadlines.settling, deliver(&mut client, which, sender, deadlines.sending)).await;
        let finishing = self.connections.release(client, result, "delivering audit events");
        match within(deadlines.giving_up, finishing).await {
            Ok(finished) => Ok(finished?),
            // Dropping the future dropped the connection.
            Err(()) => Err(StoreError::Unavailable("delivering audit events took longer than it may".into())),
        }
    }

    async fn settle(
        &self,
        outcomes: &[(EventId, DeliveryOutcome)],
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let Deadlines { settling: until, giving_up, .. } = Deadlines::before(deadline);
        let settling = async {
            let settlement = Settlement::of(outcomes);
            if let Some(params) = settlement.deletions() {
                self.connections.query_until(until, Query::Unnamed(DELETE), &params, Ok).await?;
            }
            if let Some(params) = settlement.marks() {
                self.connections.query_until(until, Query::Unnamed(MARK), &params, Ok).await?;
            }
            Ok::<_, QueryError>(())
        };
        match within(giving_up, settling).await {
            Ok(settled) => Ok(settled?),
            Err(()) => Err(StoreError::Unavailable("storing the outcome of a delivery took too long".into())),
        }
    }

    async fn backlog(&self) -> Result<AuditBacklog, StoreError> {
        let rows = self.connections.query(Query::Unnamed(COUNT), &[]).await?;
        let Some(row) = rows.first() else { return Ok(AuditBacklog::default()) };
        Ok(AuditBacklog {
            count: unsigned(field(row, "undelivered")?),
            oldest_age: duration(field(row, "oldest_age_seconds")?),
            dead: unsigned(field(row, "dead")?),
        })
    }
}

async fn deliver(
    client: &mut Object,
    which: Selection<'_>,
    sender: &dyn EventSender,
    until: Instant,
) -> Result<DeliveryCounts, QueryError> {
    let types = EventType::ALL.map(EventType::as_str);
    let own = EventType::OF_PROCESSOR.map(EventType::as_str);
    let except: Vec<Uuid> = which.except.iter().map(|id| id.0).collect();
    let params: [Param<'_>; 5] = [
        (&which.age.as_secs_f64(), Type::FLOAT8),
        (&i32::from(which.limit), Type::INT4),
        (&types.as_slice(), Type::TEXT_ARRAY),
        (&own.as_slice(), Type::TEXT_ARRAY),
        (&except, Type::UUID_ARRAY),
    ];
    let transaction = begin(client).await?;
    // Each is read while the server produces the next ones.
    let read = |row: Row| Ok((field::<Place>(&row, "place")?, outbox_row(&row)?));
    let held = run_unnamed(transaction.client(), HOLD, &params, &read).await?;
    if held.is_empty() {
        transaction.rollback().await?;
        return Ok(DeliveryCounts::default());
    }
    let (places, rows): (Vec<Place>, Vec<OutboxRow>) = held.into_iter().unzip();
    let ids: Vec<EventId> = rows.iter().map(|row| row.event_id).collect();

    let outcomes = tokio::select! {
        outcomes = sender.send(rows, until) => outcomes,
        error = keep_alive(&transaction) => return Err(error.into()),
    };

    let is_delivered = |outcome: &DeliveryOutcome| *outcome == DeliveryOutcome::Delivered;
    let delivered = places.into_iter().zip(&outcomes).filter(|(_, outcome)| is_delivered(outcome));
    let delivered: Vec<Place> = delivered.map(|(place, _)| place).collect();
    if !delivered.is_empty() {
        transaction.execute_typed(DELETE_HELD, &[(&delivered, Type::TID_ARRAY)]).await?;
    }
    let counts = DeliveryCounts::of(&outcomes);
    let outcomes: Vec<_> = ids.into_iter().zip(outcomes).collect();
    if let Some(params) = Settlement::of(&outcomes).marks() {
        transaction.execute_typed(MARK, &params).await?;
    }
    transaction.commit().await?;
    Ok(counts)
}

/// Outcomes by what is to be done about them.
#[derive(Default)]
struct Settlement<'a> {
    delivered: Vec<Uuid>,
    refused: Vec<Uuid>,
    dead: Vec<Uuid>,
    /// Of the dead ones, in their order.
    reasons: Vec<&'a str>,
}

impl<'a> Settlement<'a> {
    fn of(outcomes: &'a [(EventId, DeliveryOutcome)]) -> Self {
        let mut settlement = Self::default();
        for (EventId(id), outcome) in outcomes {
            match outcome {
                DeliveryOutcome::Delivered => settlement.delivered.push(*id),
                DeliveryOutcome::Kept => {}
                DeliveryOutcome::TimestampRejected => settlement.refused.push(*id),
                DeliveryOutcome::Dead(reason) => {
                    settlement.dead.push(*id);
                    settlement.reasons.push(reason);
                }
            }
        }
        settlement
    }

    /// The parameters of `delete_events`, unless there is nothing to delete.
    fn deletions(&self) -> Option<[Param<'_>; 1]> {
        (!self.delivered.is_empty()).then_some([(&self.delivered as _, Type::UUID_ARRAY)])
    }

    /// The parameters of `mark_events`, unless there is nothing to mark.
    fn marks(&self) -> Option<[Param<'_>; 3]> {
        let is_needed = !(self.refused.is_empty() && self.dead.is_empty());
        is_needed.then_some([
            (&self.refused as _, Type::UUID_ARRAY),
            (&self.dead as _, Type::UUID_ARRAY),
            (&self.reasons as _, Type::TEXT_ARRAY),
        ])
    }
}

/// Keeps the session alive; returns only when the connection, and with it the locks, is lost.
async fn keep_alive(transaction: &Transaction<'_>) -> tokio_postgres::Error {
    loop {
        tokio::time::sleep(KEEP_ALIVE_INTERVAL).await;
        if let Err(error) = transaction.batch_execute("").await {
            return error;
        }
    }
}

fn outbox_row(row: &Row) -> Result<OutboxRow, StoreError> {
    let event_id = EventId(field(row, "event_id")?);
    let event_type: &str = field(row, "event_type")?;
    let RawJson(context) = field(row, "context")?;
    let RawJson(schedule) = field(row, "schedule")?;
    let event = event(event_id, event_type, context, schedule).map_err(|error| Unrenderable {
        error,
        raw: format!(r#"{{"event_type":"{event_type}","context":{context},"schedule":{schedule}}}"#),
    });
    Ok(OutboxRow { event_id, use_time_of_sending: field(row, "refused_before")?, event })
}

fn event(id: EventId, event_type: &str, context: &str, schedule: &str) -> Result<AuditEvent, BoxError> {
    let event_type =
        EventType::parse(event_type).ok_or_else(|| format!("unknown event type {event_type:?}"))?;
    let context = serde_json::from_str(context).map_err(|error| format!("context: {error}"))?;
    let schedule = serde_json::from_str(schedule).map_err(|error| format!("schedule: {error}"))?;
    Ok(AuditEvent::of(id, event_type, context, &schedule)?)
}

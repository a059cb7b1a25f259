//! Events on their way from the outbox to the audit log, in one transaction: their rows are locked and deleted,
//! the events are sent, and the deletion is committed. When this process is killed, its rows are available again at once.

use std::time::{Duration, Instant};

use deadpool_postgres::Transaction;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::audited_write::begin;
use super::connection::{Object, within};
use super::fault;
use super::query_error::QueryError;
use super::rows::{Place, RawJson, field};
use super::session::{Param, run_unnamed};
use crate::domain::audit_event::{AuditEvent, EventId, EventType};
use crate::error::BoxError;
use crate::ports::outbox::{DeliveryOutcome, EventSender, OutboxRow, Selection, Unrenderable};
use crate::ports::store_error::StoreError;

const HOLD: &str = include_str!("sql/hold_events.sql");
pub(super) const DELETE_HELD: &str = include_str!("sql/delete_held_events.sql");

/// What is deferred until the commit would come too late, for then everything has been sent. The rows themselves are locked, so
/// only a trigger or a constraint can wait: not for long, because all events wait with it.
const BEFORE_DELETION: &str = "set constraints all immediate; set local lock_timeout = '100ms'";
/// For locking and deleting rows, which takes milliseconds.
const DELETION_LIMIT: Duration = Duration::from_secs(2);
/// Maximum time reserved for storing the outcome of a delivery.
const SETTLE_RESERVE: Duration = Duration::from_millis(300);
/// Maximum time reserved for cancelling an overdue delivery on the server.
const CANCEL_RESERVE: Duration = Duration::from_millis(200);
/// The transaction that holds the rows is idle while the sender works; the interval is well within
/// `idle_in_transaction_session_timeout` (10 s as a role default).
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(3);

/// Deadlines for the parts of a delivery, each leaving time for the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    pub(super) sending: Instant,
    pub(super) settling: Instant,
    pub(super) giving_up: Instant,
}

impl Deadlines {
    pub(super) fn before(deadline: Instant) -> Self {
        let left = deadline.saturating_duration_since(Instant::now());
        let cancel = CANCEL_RESERVE.min(left / 8);
        let settle = SETTLE_RESERVE.min(left / 4);
        Self { sending: deadline - cancel - settle, settling: deadline - cancel, giving_up: deadline }
    }
}

/// Rows that are deleted, but not committed yet.
struct Held<'a> {
    transaction: Transaction<'a>,
    rows: Vec<OutboxRow>,
}

/// Rows that were passed to the sender.
pub(super) struct Sent {
    pub(super) outcomes: Vec<(EventId, DeliveryOutcome)>,
    /// Whether the deletion is committed. Otherwise it was undone.
    pub(super) is_deleted: bool,
}

/// Deletes rows, sends their events, and commits. `undeletable` names the rows that are locked and could not be deleted. `Err` when
/// time is up.
pub(super) async fn hold_and_send(
    client: &mut Object,
    which: Selection<'_>,
    sender: &dyn EventSender,
    deadlines: Deadlines,
    undeletable: &mut Vec<EventId>,
) -> Result<Result<Sent, QueryError>, ()> {
    let until = deadlines.sending.min(Instant::now() + DELETION_LIMIT);
    let held = match within(until, hold(client, which, undeletable)).await? {
        Ok(held) => held,
        Err(error) => return Ok(Err(error)),
    };
    undeletable.clear();
    within(deadlines.settling, send(held, sender, deadlines.sending)).await
}

/// Locks rows and deletes them, in a transaction that is still open.
async fn hold<'a>(
    client: &'a mut Object,
    which: Selection<'_>,
    undeletable: &mut Vec<EventId>,
) -> Result<Held<'a>, QueryError> {
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
    let (places, rows): (Vec<Place>, Vec<OutboxRow>) = held.into_iter().unzip();
    if rows.is_empty() {
        return Ok(Held { transaction, rows });
    }
    undeletable.extend(rows.iter().map(|row| row.event_id));
    match delete(&transaction, &places).await {
        Ok(()) => Ok(Held { transaction, rows }),
        Err(error) => {
            // The next attempt would skip rows that an abandoned connection still locks.
            drop(transaction.rollback().await);
            Err(error)
        }
    }
}

async fn delete(transaction: &Transaction<'_>, places: &Vec<Place>) -> Result<(), QueryError> {
    transaction.batch_execute(BEFORE_DELETION).await?;
    let deleted = transaction.execute_typed(DELETE_HELD, &[(places, Type::TID_ARRAY)]).await?;
    if deleted == places.len() as u64 {
        return Ok(());
    }
    let message = format!("{deleted} of {} rows were deleted: a trigger prevents it", places.len());
    Err(StoreError::Rejected { source: message.clone().into(), message }.into())
}

/// Sends the events, and commits the deletion of their rows if all of them were delivered.
async fn send(held: Held<'_>, sender: &dyn EventSender, until: Instant) -> Result<Sent, QueryError> {
    let Held { transaction, rows } = held;
    let ids: Vec<EventId> = rows.iter().map(|row| row.event_id).collect();
    let outcomes = tokio::select! {
        outcomes = sender.send(rows, until) => outcomes,
        error = keep_alive(&transaction) => return Err(error.into()),
    };
    let mut is_deleted = outcomes.iter().all(DeliveryOutcome::is_delivered);
    let ending = if is_deleted { transaction.commit().await } else { transaction.rollback().await };
    if let Err(error) = ending {
        let error = fault::message(&error);
        tracing::warn!(error, "the rows of audit events that were sent could not be deleted together");
        is_deleted = false;
    }
    Ok(Sent { outcomes: ids.into_iter().zip(outcomes).collect(), is_deleted })
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

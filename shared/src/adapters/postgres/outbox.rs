//! [`AuditOutbox`] on PostgreSQL: row locks hold the events in delivery, so those of a killed process are free at
//! once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};
use uuid::Uuid;

use super::Postgres;
use super::audited_write::begin;
use super::connection::{Object, Param, within};
use super::rows::{duration, field, unsigned};
use crate::domain::audit_event::{AuditEvent, EventId, EventType};
use crate::error::BoxError;
use crate::ports::outbox::{
    AuditBacklog, AuditOutbox, DeliveryCounts, DeliveryOutcome, EventSender, OutboxRow, Selection,
};
use crate::ports::store_error::StoreError;

const LOCK_EVENTS: &str = include_str!("sql/hold_events.sql");
const LOCK_OLDEST_EVENTS: &str = include_str!("sql/hold_oldest_events.sql");
const SETTLE: &str = include_str!("sql/settle_events.sql");
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

    async fn backlog(&self) -> Result<AuditBacklog, StoreError> {
        let rows = self.connections.query(COUNT, &[]).await?;
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
) -> Result<DeliveryCounts, tokio_postgres::Error> {
    let types = EventType::ALL.map(EventType::as_str);
    let types = types.as_slice();
    let transaction = begin(client).await?;
    let mut rows = match which {
        Selection::These(ids) => {
            let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
            let params: [Param<'_>; 2] = [(&ids, Type::UUID_ARRAY), (&types, Type::TEXT_ARRAY)];
            transaction.query_typed(LOCK_EVENTS, &params).await?
        }
        Selection::OlderThan { age, limit, except } => {
            let except: Vec<Uuid> = except.iter().map(|id| id.0).collect();
            let params: [Param<'_>; 4] = [
                (&age.as_secs_f64(), Type::FLOAT8),
                (&i64::from(limit), Type::INT8),
                (&types, Type::TEXT_ARRAY),
                (&except, Type::UUID_ARRAY),
            ];
            transaction.query_typed(LOCK_OLDEST_EVENTS, &params).await?
        }
    }
    .iter()
    .map(outbox_row)
    .collect::<Result<Vec<_>, _>>()?;
    if rows.is_empty() {
        transaction.rollback().await?;
        return Ok(DeliveryCounts::default());
    }
    if let Selection::These(wanted) = which {
        // A join guarantees no order.
        let places: HashMap<EventId, usize> =
            wanted.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        rows.sort_by_key(|row| places.get(&row.event_id).copied());
    }
    let ids: Vec<Uuid> = rows.iter().map(|row| row.event_id.0).collect();

    let outcomes = tokio::select! {
        outcomes = sender.send(rows, until) => outcomes,
        error = keep_alive(&transaction) => return Err(error),
    };

    let with = |wanted: DeliveryOutcome| {
        ids.iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| **outcome == wanted)
            .map(|(id, _)| *id)
            .collect::<Vec<_>>()
    };
    let (delivered, refused) = (with(DeliveryOutcome::Delivered), with(DeliveryOutcome::TimestampRejected));
    let (dead, reasons): (Vec<Uuid>, Vec<String>) = ids
        .iter()
        .zip(&outcomes)
        .filter_map(|(id, outcome)| match outcome {
            DeliveryOutcome::Dead(reason) => Some((*id, reason.clone())),
            DeliveryOutcome::Delivered | DeliveryOutcome::Kept | DeliveryOutcome::TimestampRejected => None,
        })
        .unzip();
    transaction
        .query_typed(
            SETTLE,
            &[
                (&delivered, Type::UUID_ARRAY),
                (&refused, Type::UUID_ARRAY),
                (&dead, Type::UUID_ARRAY),
                (&reasons, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    transaction.commit().await?;
    Ok(DeliveryCounts { held: ids.len(), delivered: delivered.len(), dead: dead.len() })
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

fn outbox_row(row: &Row) -> Result<OutboxRow, tokio_postgres::Error> {
    let event_id = EventId(row.try_get("event_id")?);
    let event_type: String = row.try_get("event_type")?;
    let RawJson(context) = row.try_get("context")?;
    let RawJson(schedule) = row.try_get("schedule")?;
    let raw = format!(r#"{{"event_type":"{event_type}","context":{context},"schedule":{schedule}}}"#);
    let event = event(event_id, &event_type, context, schedule);
    Ok(OutboxRow { event_id, use_time_of_sending: row.try_get("refused_before")?, event, raw })
}

fn event(id: EventId, event_type: &str, context: &str, schedule: &str) -> Result<AuditEvent, BoxError> {
    let event_type =
        EventType::parse(event_type).ok_or_else(|| format!("unknown event type {event_type:?}"))?;
    let context = serde_json::from_str(context).map_err(|error| format!("context: {error}"))?;
    let schedule = serde_json::from_str(schedule).map_err(|error| format!("schedule: {error}"))?;
    Ok(AuditEvent::of(id, event_type, context, &schedule)?)
}

/// JSON as the server sends it, even if this release cannot parse it: a number may be too large, the nesting too
/// deep.
struct RawJson<'a>(&'a str);

impl<'a> FromSql<'a> for RawJson<'a> {
    fn from_sql(of_type: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        // `jsonb` starts with a version byte.
        let text = if *of_type == Type::JSONB { raw.get(1..).unwrap_or_default() } else { raw };
        Ok(Self(std::str::from_utf8(text)?))
    }

    fn accepts(of_type: &Type) -> bool {
        matches!(*of_type, Type::JSON | Type::JSONB)
    }
}

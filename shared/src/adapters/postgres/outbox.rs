//! [`AuditOutbox`] on PostgreSQL: rows in delivery are held by row locks, so a killed deliverer's are free at once.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::Postgres;
use super::connection::{Object, within};
use super::rows::{age, field, unsigned};
use crate::domain::audit_event::{EventId, EventType};
use crate::domain::delivery::{AuditBacklog, Carried, EventFacts, Fate, OutboxRow, Selection};
use crate::error::{Source, StoreError};
use crate::ports::{AuditOutbox, Courier};

const HOLD: &str = include_str!("sql/hold_events.sql");
const HOLD_OLDEST: &str = include_str!("sql/hold_oldest_events.sql");
const SETTLE: &str = include_str!("sql/settle_events.sql");
const COUNT: &str = include_str!("sql/count_events.sql");

/// Left of a delivery's time for storing what became of the events.
const SETTLE_LIMIT: Duration = Duration::from_millis(300);

#[async_trait]
impl AuditOutbox for Postgres {
    async fn deliver(
        &self,
        which: Selection<'_>,
        courier: &dyn Courier,
        deadline: Instant,
    ) -> Result<Carried, StoreError> {
        let mut client = self.connections.get(deadline).await?;
        // The courier ends by `deadline`; what it delivered must not be forgotten for want of a moment.
        let result = within(deadline + SETTLE_LIMIT, deliver(&mut client, which, courier)).await;
        Ok(self.connections.finish(client, result, "delivering audit events").await?)
    }

    async fn backlog(&self) -> Result<AuditBacklog, StoreError> {
        let rows = self.connections.query(COUNT, &[]).await?;
        let Some(row) = rows.first() else { return Ok(AuditBacklog::default()) };
        Ok(AuditBacklog {
            count: unsigned(field(row, "undelivered")?),
            oldest_age: age(field(row, "oldest_age_seconds")?),
            dead: unsigned(field(row, "dead")?),
        })
    }
}

async fn deliver(
    client: &mut Object,
    which: Selection<'_>,
    courier: &dyn Courier,
) -> Result<Carried, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let rows = match which {
        Selection::These(ids) => {
            let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
            transaction.query_typed(HOLD, &[(&ids, Type::UUID_ARRAY)]).await?
        }
        Selection::OlderThan { age, limit } => {
            let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
                [(&age.as_secs_f64(), Type::FLOAT8), (&i64::from(limit), Type::INT8)];
            transaction.query_typed(HOLD_OLDEST, &params).await?
        }
    };
    if rows.is_empty() {
        transaction.rollback().await?;
        return Ok(Carried::default());
    }
    let rows = rows.iter().map(outbox_row).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.event_id.0).collect();

    let fates = courier.carry(rows).await;

    let with = |wanted: Fate| {
        ids.iter().zip(&fates).filter(|(_, fate)| **fate == wanted).map(|(id, _)| *id).collect::<Vec<_>>()
    };
    let (delivered, refused) = (with(Fate::Delivered), with(Fate::Refused));
    let (dead, reasons): (Vec<Uuid>, Vec<String>) = ids
        .iter()
        .zip(&fates)
        .filter_map(|(id, fate)| match fate {
            Fate::Dead(reason) => Some((*id, reason.clone())),
            Fate::Delivered | Fate::Kept | Fate::Refused => None,
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
    Ok(Carried { held: ids.len(), delivered: delivered.len(), dead: dead.len() })
}

fn outbox_row(row: &Row) -> Result<OutboxRow, tokio_postgres::Error> {
    Ok(OutboxRow {
        event_id: EventId(row.try_get("event_id")?),
        refused_before: row.try_get("refused_before")?,
        facts: facts(row),
    })
}

fn facts(row: &Row) -> Result<EventFacts, Source> {
    let event_type: &str = row.try_get("event_type")?;
    let event_type =
        EventType::parse(event_type).ok_or_else(|| format!("unknown event type {event_type:?}"))?;
    let Json(context) = row.try_get("context")?;
    let Json(schedule) = row.try_get("schedule")?;
    Ok(EventFacts { event_type, context, schedule })
}

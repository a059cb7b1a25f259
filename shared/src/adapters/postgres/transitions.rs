//! [`Transitions`] on PostgreSQL: pages by position, each one statement on an index.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Postgres;
use super::rows::{field, schedule};
use super::session::{Params, Query};
use crate::domain::audit_event::{EventId, EventType};
use crate::domain::schedule::{Schedule, ScheduleId};
use crate::domain::time::Timestamp;
use crate::ports::store_error::StoreError;
use crate::ports::transitions::{Position, Transition, Transitions, UndeliveredEvent};

const LIST: &str = include_str!("sql/list_transitions.sql");
const FIND: &str = include_str!("sql/find_schedules.sql");
const LIST_UNDELIVERED: &str = include_str!("sql/list_undelivered.sql");

#[async_trait]
impl Transitions for Postgres {
    async fn page(&self, after: &Position, to: Timestamp, limit: u16) -> Result<Vec<Transition>, StoreError> {
        let params: &Params<'_> = &[
            (&after.occurred_at, Type::TIMESTAMPTZ),
            (&after.id.0, Type::UUID),
            (&after.event_type, Type::TEXT),
            (&to.to_utc(), Type::TIMESTAMPTZ),
            (&i64::from(limit), Type::INT8),
        ];
        let rows = self.connections.query_reading(Query::Unnamed(LIST), params, transition).await?;
        Ok(rows.into_iter().flatten().collect())
    }

    async fn find(&self, ids: &[ScheduleId]) -> Result<Vec<Schedule>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let params: &Params<'_> = &[(&ids, Type::UUID_ARRAY)];
        let rows = self
            .connections
            .query_reading(Query::Unnamed(FIND), params, |row| schedule(&row, "schedule"))
            .await?;
        Ok(rows.into_iter().flatten().collect())
    }

    async fn undelivered(
        &self,
        after: Option<EventId>,
        limit: u16,
    ) -> Result<Vec<UndeliveredEvent>, StoreError> {
        let after = after.map(|id| id.0);
        let params: &Params<'_> = &[(&after, Type::UUID), (&i64::from(limit), Type::INT8)];
        Ok(self.connections.query_reading(Query::Unnamed(LIST_UNDELIVERED), params, undelivered).await?)
    }
}

/// The statement returns types that this release knows.
fn transition(row: Row) -> Result<Option<Transition>, StoreError> {
    let event_type: String = field(&row, "event_type")?;
    let (Some(event_type), Some(schedule)) = (EventType::parse(&event_type), schedule(&row, "schedule")?)
    else {
        return Ok(None);
    };
    let position = Position {
        occurred_at: field(&row, "occurred_at")?,
        id: schedule.id,
        event_type: event_type.as_str(),
    };
    Ok(Some(Transition { event_type, position, schedule }))
}

fn undelivered(row: Row) -> Result<UndeliveredEvent, StoreError> {
    let event_type: String = field(&row, "event_type")?;
    let schedule_id: Option<String> = field(&row, "schedule_id")?;
    let schedule_id = schedule_id.and_then(|id| id.parse().ok()).map(ScheduleId);
    let event_id = EventId(field(&row, "event_id")?);
    Ok(UndeliveredEvent { event_id, key: schedule_id.zip(EventType::parse(&event_type)) })
}

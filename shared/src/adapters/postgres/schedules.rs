//! [`ScheduleStore`] on PostgreSQL: create, list and cancel, each one statement and one round trip.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::Postgres;
use super::change::{Change, Changed, Statement};
use super::connection::{Params, QueryError};
use super::rows::{field, schedule, timestamp};
use crate::domain::audit_event::EventType;
use crate::domain::flag::FlagAddress;
use crate::domain::schedule::{IdempotencyKey, Schedule, ScheduleId};
use crate::domain::step::{
    Cancellation, Cancelled, Created, Creation, Page, PagePosition, PageQuery, StoredMicros,
};
use crate::domain::time::Timestamp;
use crate::error::StoreError;
use crate::ports::{EventJournal, ScheduleStore};

pub(super) const CREATE: Statement = Statement(include_str!("sql/create_schedule.sql"));
pub(super) const CANCEL: Statement = Statement(include_str!("sql/cancel_schedule.sql"));
const LIST: &str = include_str!("sql/list_schedules.sql");

#[async_trait]
impl ScheduleStore for Postgres {
    async fn create(&self, creation: &Creation, journal: &dyn EventJournal) -> Result<Created, StoreError> {
        let scheduled_at = creation.schedule.scheduled_at.to_utc();
        let apply_by = creation.schedule.apply_by.map(Timestamp::to_utc);
        let updates = Json(creation.schedule.updates);
        let context = Json(&creation.context);
        let idempotency_key = creation.idempotency_key.as_ref().map(IdempotencyKey::as_str);
        let params: &Params<'_> = &[
            (&creation.flag.key.as_str(), Type::TEXT),
            (&creation.flag.environment.as_str(), Type::TEXT),
            (&creation.id.0, Type::UUID),
            (&scheduled_at, Type::TIMESTAMPTZ),
            (&apply_by, Type::TIMESTAMPTZ),
            (&updates, Type::JSONB),
            (&creation.schedule.reason, Type::TEXT),
            (&creation.created_by, Type::TEXT),
            (&idempotency_key, Type::TEXT),
            (&creation.event_id.0, Type::UUID),
            (&context, Type::JSONB),
        ];
        let change = Change {
            statement: CREATE,
            params,
            stored: |row| if field(row, "is_ours")? { schedule(row, "schedule") } else { Ok(None) },
            event_id: creation.event_id,
            event_type: EventType::Created,
            context: &creation.context,
        };
        let Changed { row, recorded } = match self.change(&change, journal).await {
            Ok(changed) => changed,
            Err(QueryError::Driver(error)) if is_flag_gone(&error) => return Ok(Created::NoSuchFlag),
            Err(error) => return Err(error.into()),
        };
        if let Some(recorded) = recorded {
            return Ok(Created::Stored(recorded));
        }
        if let Some(schedule) = schedule(&row, "schedule")? {
            let same: Option<bool> = field(&row, "same_body")?;
            return Ok(match same {
                Some(true) => Created::Replayed(Box::new(schedule)),
                _ => Created::KeyReused,
            });
        }
        if field(&row, "flag_exists")? {
            let now = timestamp(&row, "database_now")?;
            return Ok(Created::NotInTime { database_now: now.unwrap_or(creation.schedule.scheduled_at) });
        }
        Ok(Created::NoSuchFlag)
    }

    async fn list(&self, flag: &FlagAddress, query: &PageQuery) -> Result<Option<Page>, StoreError> {
        let after = query.after.map(|after| after.scheduled_at);
        let after_id = query.after.map(|after| after.id.0);
        let mut rows = self
            .connections
            .query_reading(
                LIST,
                &[
                    (&flag.key.as_str(), Type::TEXT),
                    (&flag.environment.as_str(), Type::TEXT),
                    (&query.status.map(|status| status.as_str()), Type::TEXT),
                    (&after, Type::TIMESTAMPTZ),
                    (&after_id, Type::UUID),
                    (&(i64::from(query.limit) + 1), Type::INT8), // one more tells whether there is a next page
                ],
                page_row,
            )
            .await
            .map_err(|error| match error.into() {
                // Reading writes no row that could be rejected.
                StoreError::Rejected { source, .. } => StoreError::Refused(source),
                error => error,
            })?;
        if rows.is_empty() {
            return Ok(None);
        }
        let more = rows.len() > usize::from(query.limit);
        // They come in this order, but SQL does not promise it.
        rows.sort_by_key(|row| row.as_ref().map(|(position, _)| *position));
        rows.truncate(query.limit.into());
        let last = rows.last().and_then(|row| row.as_ref().map(|(position, _)| *position));
        let schedules = rows.into_iter().flatten().map(|(_, schedule)| schedule).collect();
        Ok(Some(Page { schedules, next: last.filter(|_| more) }))
    }

    async fn cancel(
        &self,
        cancellation: &Cancellation,
        journal: &dyn EventJournal,
    ) -> Result<Cancelled, StoreError> {
        let context = Json(&cancellation.context);
        let params: &Params<'_> = &[
            (&cancellation.flag.key.as_str(), Type::TEXT),
            (&cancellation.flag.environment.as_str(), Type::TEXT),
            (&cancellation.id.0, Type::UUID),
            (&cancellation.cancelled_by, Type::TEXT),
            (&cancellation.reason, Type::TEXT),
            (&cancellation.event_id.0, Type::UUID),
            (&context, Type::JSONB),
        ];
        let change = Change {
            statement: CANCEL,
            params,
            stored: |row| match schedule(row, "cancelled")? {
                None if field::<Option<bool>>(row, "cancelled_before")? == Some(true) => {
                    schedule(row, "found")
                }
                cancelled => Ok(cancelled),
            },
            event_id: cancellation.event_id,
            event_type: EventType::Cancelled,
            context: &cancellation.context,
        };
        let Changed { row, recorded } = self.change(&change, journal).await?;
        if let Some(recorded) = recorded {
            return Ok(Cancelled::Stored(recorded));
        }
        if field::<Option<bool>>(&row, "is_suppressed")? == Some(true) {
            let message = "a trigger suppressed the cancellation".to_owned();
            return Err(StoreError::Rejected { source: message.clone().into(), message });
        }
        match schedule(&row, "found")? {
            Some(schedule) => Ok(Cancelled::NotPending(Box::new(schedule))),
            None if field(&row, "flag_exists")? => Ok(Cancelled::NoSuchSchedule),
            None => Ok(Cancelled::NoSuchFlag),
        }
    }
}

/// Whether the flag was deleted while its schedule was being created.
fn is_flag_gone(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|db| db.code().code() == "23503" && db.table() == Some("feature_flag_schedules"))
}

/// A row of a page; `None` is the row of a flag without schedules.
fn page_row(row: Row) -> Result<Option<(PagePosition, Schedule)>, StoreError> {
    let Some(id) = field::<Option<Uuid>>(&row, "id")? else { return Ok(None) };
    let scheduled_at: StoredMicros = field(&row, "scheduled_at")?;
    let position = PagePosition { scheduled_at, id: ScheduleId(id) };
    Ok(schedule(&row, "schedule")?.map(|schedule| (position, schedule)))
}

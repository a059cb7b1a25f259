//! [`ScheduleStore`] on PostgreSQL: create, list and cancel, each one statement and one round trip.

use std::time::Instant;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};

use super::Postgres;
use super::connection::{Params, QueryError};
use super::fault::{Fault, fault, store_error};
use super::statement::Change;
use crate::domain::audit_event::EventContext;
use crate::domain::flag::FlagAddress;
use crate::domain::schedule::{IdempotencyKey, Schedule, ScheduleId};
use crate::domain::step::{
    Batch, Cancellation, Cancelled, Created, Creation, EventPlace, Page, PagePosition, PageQuery, Progress,
    Recorded, StillDue,
};
use crate::domain::time::Timestamp;
use crate::error::{Source, StoreError};
use crate::ports::{Decide, ScheduleStore};

pub(super) const CREATE: Change = Change(include_str!("sql/create_schedule.sql"));
const FIND: &str = include_str!("sql/find_schedule.sql");
pub(super) const CANCEL: Change = Change(include_str!("sql/cancel_schedule.sql"));
const LIST: &str = include_str!("sql/list_schedules.sql");

#[async_trait]
impl ScheduleStore for Postgres {
    async fn create(&self, creation: &Creation) -> Result<Created, StoreError> {
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
        let (row, event) = match self.change(CREATE, params).await {
            Ok(answer) => answer,
            Err(QueryError::Driver(error)) => return self.create_refused(creation, error).await,
            Err(QueryError::Store(error)) => return Err(error),
        };
        if let Some(schedule) = schedule(&row, "schedule", creation.id)? {
            if schedule.id != creation.id {
                let same = field::<Option<bool>>(&row, "same_body")? == Some(true);
                return Ok(if same { Created::Replayed(Box::new(schedule)) } else { Created::KeyReused });
            }
            return Ok(Created::Stored(Box::new(Recorded { schedule, event })));
        }
        if field(&row, "flag_exists")? {
            let now: DateTime<Utc> = field(&row, "database_now")?;
            return Ok(Created::NotInTime { database_now: Timestamp::cut(now) });
        }
        Ok(Created::NoSuchFlag)
    }

    async fn list(&self, flag: &FlagAddress, query: &PageQuery) -> Result<Option<Page>, StoreError> {
        let after = query.after.and_then(|after| DateTime::from_timestamp_micros(after.scheduled_at_micros));
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
            .await?;
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

    async fn cancel(&self, cancellation: &Cancellation) -> Result<Cancelled, StoreError> {
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
        let (row, event) = self.change(CANCEL, params).await?;
        if let Some(schedule) = schedule(&row, "cancelled", cancellation.id)? {
            return Ok(Cancelled::Stored(Box::new(Recorded { schedule, event })));
        }
        match schedule(&row, "found", cancellation.id)? {
            // The first attempt was committed and its answer lost.
            Some(schedule) if repeated(&row) => Ok(Cancelled::Stored(Box::new(Recorded { schedule, event }))),
            Some(schedule) => Ok(Cancelled::NotPending(Box::new(schedule))),
            None if field(&row, "flag_exists")? => Ok(Cancelled::NoSuchSchedule),
            None => Ok(Cancelled::NoSuchFlag),
        }
    }

    async fn apply_due(
        &self,
        progress: &mut Progress,
        context: &EventContext,
        decide: &Decide,
        deadline: Instant,
    ) -> Result<Batch, StoreError> {
        super::due::apply_due(&self.connections, progress, context, decide, deadline).await
    }

    async fn still_due(&self) -> Result<StillDue, StoreError> {
        super::due::still_due(&self.connections).await
    }
}

impl Postgres {
    /// Runs a change with its audit event; where the outbox is in the way, the change alone. Both come back with exactly
    /// one row.
    async fn change(&self, change: Change, params: &Params<'_>) -> Result<(Row, EventPlace), QueryError> {
        let (rows, event) = match self.connections.query(change.with_event(), params).await {
            Ok(rows) => (rows, EventPlace::Outbox),
            // Nothing was done: the statement failed as a whole.
            Err(QueryError::Driver(error)) if fault(&error) == Fault::MaybeOutbox => {
                let rows = self.connections.query(&change.alone(), params).await?;
                (rows, EventPlace::Nowhere(error.into()))
            }
            Err(error) => return Err(error),
        };
        match <[Row; 1]>::try_from(rows) {
            Ok([row]) => Ok((row, event)),
            Err(rows) => {
                let source: Source = format!("expected one row, got {}", rows.len()).into();
                Err(QueryError::Store(StoreError::Refused(source)))
            }
        }
    }

    /// Two refusals are answers: the schedule is there already (a first attempt was committed and its answer lost), or
    /// the flag went away in between.
    async fn create_refused(
        &self,
        creation: &Creation,
        error: tokio_postgres::Error,
    ) -> Result<Created, StoreError> {
        let db = error.as_db_error();
        let code = db.map_or("", |db| db.code().code());
        if code == "23503" {
            return Ok(Created::NoSuchFlag);
        }
        if code != "23505" || db.and_then(|db| db.table()) != Some("feature_flag_schedules") {
            return Err(store_error(error));
        }
        let rows = self.connections.query(FIND, &[(&creation.id.0, Type::UUID)]).await?;
        match rows.first().map(|row| schedule(row, "schedule", creation.id)).transpose()?.flatten() {
            Some(schedule) => Ok(Created::Stored(Box::new(Recorded { schedule, event: EventPlace::Outbox }))),
            None => Err(store_error(error)),
        }
    }
}

/// A row of a page; `None` is the row of a flag without schedules.
fn page_row(row: Row) -> Result<Option<(PagePosition, Schedule)>, StoreError> {
    let Some(id) = field::<Option<_>>(&row, "id")? else { return Ok(None) };
    let id = ScheduleId(id);
    let scheduled_at: DateTime<Utc> = field(&row, "scheduled_at")?;
    let position = PagePosition { scheduled_at_micros: scheduled_at.timestamp_micros(), id };
    Ok(schedule(&row, "schedule", id)?.map(|schedule| (position, schedule)))
}

/// Whether a cancel met its own event; without the outbox, nobody can tell.
fn repeated(row: &Row) -> bool {
    row.try_get("repeated").unwrap_or(false)
}

/// Reads a column that a statement of ours returns.
pub(super) fn field<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    column: &str,
) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| StoreError::Refused(error.into()))
}

/// Reads a schedule from the JSON that a statement of ours made of its row; `None` where it made none.
fn schedule(row: &Row, column: &str, id: ScheduleId) -> Result<Option<Schedule>, StoreError> {
    match row.try_get::<_, Option<Json<Schedule>>>(column) {
        Ok(schedule) => Ok(schedule.map(|Json(schedule)| schedule)),
        Err(error) => Err(StoreError::Corrupt {
            table: "feature_flag_schedules",
            column: "one of its columns",
            id: id.to_string(),
            source: error.into(),
        }),
    }
}

//! [`ScheduleReader`] on PostgreSQL: each read is one statement and one round trip.

use std::sync::LazyLock;

use async_trait::async_trait;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Postgres;
use super::query_error::QueryError;
use super::rows::{Columns, field, schedule};
use super::session::{Params, Query, without};
use crate::domain::flag::{Environment, FlagAddress, FlagKey};
use crate::domain::schedule::{Schedule, ScheduleId, StoredUpdates};
use crate::domain::time::{StoredMicros, Timestamp};
use crate::ports::schedules::{
    AcrossFlagsQuery, Order, Page, PagePosition, PageQuery, ScheduleError, ScheduleReader,
};
use crate::ports::store_error::StoreError;

const FIND: &str = include_str!("sql/find_schedule.sql");
const LIST: &str = include_str!("sql/list_schedules.sql");
/// With and without each filter, in the order of status and position: a plan for all of them would serve none well.
static LISTS: LazyLock<[[String; 2]; 2]> =
    LazyLock::new(|| [without(LIST, "status"), LIST.to_owned()].map(|sql| [without(&sql, "after"), sql]));
const ACROSS_FLAGS: &str = include_str!("sql/list_across_flags.sql");
static ACROSS_FLAGS_DESCENDING: LazyLock<String> = LazyLock::new(|| {
    ACROSS_FLAGS.replace(" asc", " desc").replace("(s.scheduled_at, s.id) > (", "(s.scheduled_at, s.id) < (")
});

/// Most schedules of all environments that a page looks at.
const LOOKED_AT_MAX: i64 = 5_000;

#[async_trait]
impl ScheduleReader for Postgres {
    async fn list(&self, flag: &FlagAddress, query: &PageQuery) -> Result<Option<Page>, StoreError> {
        let after = query.after.map(|after| after.scheduled_at);
        let after_id = query.after.map(|after| after.id.0);
        let params: &Params<'_> = &[
            (&flag.key.as_str(), Type::TEXT),
            (&flag.environment.as_str(), Type::TEXT),
            (&query.status.map(|status| status.as_str()), Type::TEXT),
            (&after, Type::TIMESTAMPTZ),
            (&after_id, Type::UUID),
            (&(i64::from(query.limit) + 1), Type::INT8), // one more shows whether there is a next page
        ];
        let sql = &LISTS[usize::from(query.status.is_some())][usize::from(query.after.is_some())];
        let rows = self.connections.query_reading(Query::Named(sql), params, listed).await;
        let rows = rows.map_err(read_error)?;
        if rows.is_empty() {
            return Ok(None);
        }
        // One row of nulls is a flag without schedules.
        let rows = rows.into_iter().flatten().collect();
        Ok(Some(page(rows, query.limit, Order::Ascending)))
    }

    async fn find(&self, flag: &FlagAddress, id: ScheduleId) -> Result<Schedule, ScheduleError> {
        let params: &Params<'_> = &[
            (&flag.key.as_str(), Type::TEXT),
            (&flag.environment.as_str(), Type::TEXT),
            (&id.0, Type::UUID),
        ];
        let rows = self.connections.query(Query::Named(FIND), params).await.map_err(read_error)?;
        let row = rows.first().ok_or(ScheduleError::NoSuchFlag)?;
        schedule(row, "schedule")?.ok_or(ScheduleError::NoSuchSchedule)
    }

    async fn list_across_flags(&self, query: &AcrossFlagsQuery) -> Result<Page, StoreError> {
        let sql = match query.order {
            Order::Ascending => ACROSS_FLAGS,
            Order::Descending => &ACROSS_FLAGS_DESCENDING,
        };
        let after = query.after.map(|after| after.scheduled_at);
        let after_id = query.after.map(|after| after.id.0);
        // The first moment that there is a word for stands for all before it.
        let from = query.from.filter(|from| *from > Timestamp::from_postgres_micros(i64::MIN));
        let params: &Params<'_> = &[
            (&query.environment.as_str(), Type::TEXT),
            (&query.status.as_str(), Type::TEXT),
            (&from.map(Timestamp::to_utc), Type::TIMESTAMPTZ),
            (&query.to.map(Timestamp::to_utc), Type::TIMESTAMPTZ),
            (&after, Type::TIMESTAMPTZ),
            (&after_id, Type::UUID),
            (&(i64::from(query.limit) + 1), Type::INT8),
            (&LOOKED_AT_MAX, Type::INT8),
        ];
        let rows = self
            .connections
            .query_reading(Query::Unnamed(sql), params, found_across_flags)
            .await
            .map_err(read_error)?;
        Ok(page(rows, query.limit, query.order))
    }
}

/// A read writes no row that could be rejected.
fn read_error(error: QueryError) -> StoreError {
    match error.into() {
        StoreError::Rejected { source, .. } => StoreError::Internal(source),
        error => error,
    }
}

/// A row of `list_schedules`; `None` for one of nulls.
fn listed(row: Row) -> Result<Option<(PagePosition, Option<Schedule>)>, StoreError> {
    let mut columns = Columns::of(&row);
    let flag_key = FlagKey::stored(columns.next()?);
    let environment = Environment::stored(columns.next()?);
    let Some(id) = columns.next::<Option<Uuid>>()?.map(ScheduleId) else { return Ok(None) };
    let scheduled_at: StoredMicros = columns.next()?;
    let schedule = Schedule {
        id,
        flag_key,
        environment,
        scheduled_at: Timestamp::from_postgres_micros(scheduled_at.0),
        apply_by: columns.next()?,
        status: columns.next::<Option<&str>>()?.into(),
        updates: columns.next::<Option<_>>()?.unwrap_or(StoredUpdates::Unreadable(Value::Null)),
        expect: columns.next()?,
        reason: columns.next()?,
        created_at: columns.next()?,
        created_by: columns.next()?,
        cancelled_at: columns.next()?,
        cancelled_by: columns.next()?,
        cancel_reason: columns.next()?,
        applied_at: columns.next()?,
        failed_at: columns.next()?,
        error_code: columns.next()?,
        error_message: columns.next()?,
    };
    Ok(Some((PagePosition { scheduled_at, id }, Some(schedule))))
}

/// A row of `list_across_flags`: a position, with the schedule unless it is only a position.
fn found_across_flags(row: Row) -> Result<(PagePosition, Option<Schedule>), StoreError> {
    let position =
        PagePosition { scheduled_at: field(&row, "scheduled_at")?, id: ScheduleId(field(&row, "id")?) };
    Ok((position, schedule(&row, "schedule")?))
}

/// A row more than the limit, or one without a schedule at the end, shows that there is a next page.
fn page(mut rows: Vec<(PagePosition, Option<Schedule>)>, limit: u16, order: Order) -> Page {
    // Rows arrive in this order, but SQL does not guarantee it.
    match order {
        Order::Ascending => rows.sort_by_key(|(position, _)| *position),
        Order::Descending => rows.sort_by_key(|(position, _)| std::cmp::Reverse(*position)),
    }
    let is_cut = rows.len() > usize::from(limit);
    rows.truncate(limit.into());
    let next =
        rows.last().filter(|(_, schedule)| is_cut || schedule.is_none()).map(|(position, _)| *position);
    Page { schedules: rows.into_iter().filter_map(|(_, schedule)| schedule).collect(), next }
}

//! [`ScheduleStore`] on PostgreSQL: create and cancel, each one statement and one round trip.

use async_trait::async_trait;
use tokio_postgres::types::{Json, Type};

use super::Postgres;
use super::audited_write::{AuditedWrite, Statement, WriteResult};
use super::query_error::QueryError;
use super::rows::{field, schedule};
use super::session::Params;
use crate::domain::audit_event::EventDraft;
use crate::domain::schedule::{Cancellation, IdempotencyKey, NewSchedule, ScheduleId};
use crate::domain::time::Timestamp;
use crate::ports::outbox::FallbackLog;
use crate::ports::schedules::{CommittedChange, CreateOutcome, ScheduleError, ScheduleStore};
use crate::ports::store_error::StoreError;

pub(super) const CREATE: Statement = Statement(include_str!("sql/create_schedule.sql"));
pub(super) const CANCEL: Statement = Statement(include_str!("sql/cancel_schedule.sql"));

#[async_trait]
impl ScheduleStore for Postgres {
    async fn create(
        &self,
        id: ScheduleId,
        new: &NewSchedule,
        event: &EventDraft,
        fallback_log: &dyn FallbackLog,
    ) -> Result<CreateOutcome, ScheduleError> {
        let scheduled_at = new.scheduled_at.to_utc();
        let apply_by = new.apply_by.map(Timestamp::to_utc);
        let updates = Json(new.updates);
        let expect = new.expect.map(Json);
        let idempotency_key = new.idempotency_key.as_ref().map(IdempotencyKey::as_str);
        let params: &Params<'_> = &[
            (&new.flag.key.as_str(), Type::TEXT),
            (&new.flag.environment.as_str(), Type::TEXT),
            (&id.0, Type::UUID),
            (&scheduled_at, Type::TIMESTAMPTZ),
            (&apply_by, Type::TIMESTAMPTZ),
            (&updates, Type::JSONB),
            (&expect, Type::JSONB),
            (&new.reason, Type::TEXT),
            (&event.context.user_id(), Type::TEXT),
            (&idempotency_key, Type::TEXT),
        ];
        let write = AuditedWrite {
            statement: CREATE,
            params,
            event,
            stored: |row| if field(row, "is_ours")? { schedule(row, "schedule") } else { Ok(None) },
        };
        let WriteResult { row, stored } = match self.write_audited(&write, fallback_log).await {
            Ok(result) => result,
            Err(QueryError::Driver(error)) if is_flag_gone(&error) => return Err(ScheduleError::NoSuchFlag),
            Err(error) => return Err(StoreError::from(error).into()),
        };
        if let Some(stored) = stored {
            return Ok(CreateOutcome::Created(stored));
        }
        if let Some(schedule) = schedule(&row, "schedule")? {
            return match field(&row, "same_body")? {
                Some(true) => Ok(CreateOutcome::Replayed(Box::new(schedule))),
                _ => Err(ScheduleError::KeyReused),
            };
        }
        if field(&row, "flag_exists")? {
            let now = field::<Option<Timestamp>>(&row, "database_now")?;
            return Err(ScheduleError::NotInTime { database_now: now.unwrap_or(new.scheduled_at) });
        }
        Err(ScheduleError::NoSuchFlag)
    }

    async fn cancel(
        &self,
        cancellation: &Cancellation,
        event: &EventDraft,
        fallback_log: &dyn FallbackLog,
    ) -> Result<Box<CommittedChange>, ScheduleError> {
        let params: &Params<'_> = &[
            (&cancellation.flag.key.as_str(), Type::TEXT),
            (&cancellation.flag.environment.as_str(), Type::TEXT),
            (&cancellation.id.0, Type::UUID),
            (&event.context.user_id(), Type::TEXT),
            (&cancellation.reason, Type::TEXT),
        ];
        let write = AuditedWrite {
            statement: CANCEL,
            params,
            event,
            stored: |row| match schedule(row, "cancelled")? {
                None if field::<Option<bool>>(row, "cancelled_before")? == Some(true) => {
                    schedule(row, "found")
                }
                cancelled => Ok(cancelled),
            },
        };
        let WriteResult { row, stored } =
            self.write_audited(&write, fallback_log).await.map_err(StoreError::from)?;
        if let Some(stored) = stored {
            return Ok(stored);
        }
        if field::<Option<bool>>(&row, "is_suppressed")? == Some(true) {
            let message = "a trigger suppressed the cancellation".to_owned();
            return Err(StoreError::Rejected { source: message.clone().into(), message }.into());
        }
        match schedule(&row, "found")? {
            Some(schedule) => Err(ScheduleError::NotPending(Box::new(schedule))),
            None if field(&row, "flag_exists")? => Err(ScheduleError::NoSuchSchedule),
            None => Err(ScheduleError::NoSuchFlag),
        }
    }
}

/// Whether the flag was deleted while its schedule was being created.
fn is_flag_gone(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|db| db.code().code() == "23503" && db.table() == Some("feature_flag_schedules"))
}

//! [`DueStore`] on PostgreSQL: one transaction per batch, with a constant number of statements. The lock order is
//! always flag, then schedule, and nothing waits for either lock.

use std::collections::HashMap;
use std::time::Instant;

use async_trait::async_trait;
use serde_json::Value;
use tokio_postgres::types::{Json, Type};
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::Postgres;
use super::audited_write::{Prepared, Statement, begin, confirm};
use super::connection::{Object, within};
use super::outcomes::{OutcomeColumns, Places};
use super::query_error::QueryError;
use super::rows::{duration, field, unsigned};
use super::session::{Params, Query};
use crate::domain::apply::{DueFlag, DueSchedule, StoredJson};
use crate::domain::flag::{FlagId, FlagState};
use crate::domain::schedule::{Schedule, ScheduleId};
use crate::domain::time::Timestamp;
use crate::ports::due::{Batch, BatchFailure, BatchRequest, Claim, DuePosition, DueStore, NextDue, StillDue};
use crate::ports::outbox::FallbackLog;
use crate::ports::store_error::{Fault, StoreError};

const CLAIM: &str = include_str!("sql/claim_flags.sql");
const READ_DUE: &str = include_str!("sql/read_due.sql");
pub(super) const RECORD: Statement = Statement(include_str!("sql/record_outcomes.sql"));
const FIND_OTHER_TICKS: &str = include_str!("sql/find_other_ticks.sql");
const FIND_NEXT_DUE: &str = include_str!("sql/find_next_due.sql");
const COUNT_DUE: &str = include_str!("sql/count_due.sql");

/// Maximum schedules per flag in a batch, oldest first: a flag with a long backlog must not hold up the others.
const PER_FLAG: i64 = 100;
/// Class of the advisory locks by which ticks detect each other: "tick" in ASCII.
const TICKS: i32 = 0x7469_636b;
/// In bytes. Longer stored `updates` and `expect` are not parsed; valid ones are shorter.
const JSON_MAX: usize = 4096;

#[async_trait]
impl DueStore for Postgres {
    async fn apply_batch(
        &self,
        request: &BatchRequest<'_>,
        fallback_log: &dyn FallbackLog,
    ) -> Result<Batch, BatchFailure> {
        let failed =
            |error: QueryError, claim| BatchFailure { fault: error.fault(), error: error.into(), claim };
        let client = self.connections.get(request.deadline).await;
        let mut client = client.map_err(|error| failed(error.into(), None))?;
        let mut run = BatchRun { request, fallback_log, claim: None, prepared: None };
        let result = within(request.deadline, run.run(&mut client)).await;
        let result = self.connections.release(client, result, "a batch of due schedules").await;
        let BatchRun { claim, prepared, .. } = run;
        confirm(&self.connections, result, prepared).await.map_err(|error| failed(error, claim))
    }

    async fn check(&self, bypass_outbox: bool, deadline: Instant) -> Result<(), StoreError> {
        let mut client = self.connections.get(deadline).await?;
        let checking = async {
            let transaction = begin(&mut client).await?;
            let columns = OutcomeColumns::default();
            let context = Value::Null;
            let checked = record(&transaction, &columns, &Json(&context), bypass_outbox).await;
            transaction.rollback().await?;
            checked.map(|_| ())
        };
        let result = within(deadline, checking).await;
        Ok(self.connections.release(client, result, "storing a batch of nothing").await?)
    }

    async fn next_due(&self) -> Result<NextDue, StoreError> {
        let rows = self.connections.query(Query::Unnamed(FIND_NEXT_DUE), &[]).await?;
        let Some(row) = rows.first() else { return Ok(NextDue::default()) };
        let optional =
            |column| field::<Option<f64>>(row, column).map(|seconds| seconds.map(|it| duration(Some(it))));
        Ok(NextDue { until_next: optional("next_seconds")?, since_last: optional("last_seconds_ago")? })
    }

    async fn is_another_tick_working(&self, tick: i32) -> Result<bool, StoreError> {
        let params: &Params<'_> = &[(&i64::from(TICKS), Type::INT8), (&i64::from(tick), Type::INT8)];
        let rows = self.connections.query(Query::Unnamed(FIND_OTHER_TICKS), params).await?;
        rows.first().map_or(Ok(false), |row| field(row, "found"))
    }

    async fn still_due(&self) -> Result<StillDue, StoreError> {
        let rows = self.connections.query(Query::Unnamed(COUNT_DUE), &[]).await?;
        let Some(row) = rows.first() else { return Ok(StillDue::default()) };
        Ok(StillDue {
            count: unsigned(field(row, "due")?),
            oldest_age: duration(field(row, "oldest_age_seconds")?),
        })
    }
}

struct BatchRun<'a> {
    request: &'a BatchRequest<'a>,
    fallback_log: &'a dyn FallbackLog,
    claim: Option<Claim>,
    prepared: Option<Prepared<Batch>>,
}

/// What was found with the due schedules of a batch's flags.
struct Due {
    /// The database's clock.
    now: Timestamp,
    places: Places,
    flags_locked: u64,
}

impl BatchRun<'_> {
    async fn run(&mut self, client: &mut Object) -> Result<(), QueryError> {
        let transaction = begin(client).await?;
        match self.prepare(&transaction).await {
            Ok(prepared) if prepared.value.ended.is_empty() => {
                self.prepared = Some(prepared);
                Ok(transaction.rollback().await?)
            }
            Ok(prepared) => {
                self.prepared = Some(prepared);
                let committed = transaction.commit().await.map_err(QueryError::from);
                if committed.as_ref().is_err_and(|error| error.fault() != Fault::Lost) {
                    // The server reports the error first and releases the locks afterwards; the next batch must not
                    // run into them.
                    client.simple_query("").await?;
                }
                committed
            }
            Err(error) => {
                // Await the rollback, so that no lock remains when the batch is retried.
                if error.fault() != Fault::Lost {
                    transaction.rollback().await?;
                }
                Err(error)
            }
        }
    }

    async fn prepare(&mut self, transaction: &Transaction<'_>) -> Result<Prepared<Batch>, QueryError> {
        let Some((mut flags, mut batch)) = self.claim(transaction).await? else {
            return Ok(Prepared { transaction_id: None, value: Batch::default() });
        };
        let Due { now, places, flags_locked } = self.read_due(transaction, &mut flags).await?;
        batch.flags_locked += flags_locked;
        let columns = OutcomeColumns::decided(&flags, &places, now, self.request.reject.as_ref());
        if columns.ended.is_empty() {
            return Ok(Prepared { transaction_id: None, value: batch });
        }
        let context = Json(self.request.context);
        let bypass_outbox = self.request.bypass_outbox.is_some();
        let row = record(transaction, &columns, &context, bypass_outbox).await?;
        columns.check_counts(&row, bypass_outbox)?;
        if let Some(reason) = &self.request.bypass_outbox {
            let Json(schedules): Json<Vec<Schedule>> = field(&row, "schedules")?;
            batch.direct_events = columns.events(self.request.context, &schedules)?;
            batch.direct_events.iter().for_each(|event| self.fallback_log.log_in_full(event, reason));
        }
        batch.ended = columns.ended;
        Ok(Prepared { transaction_id: field(&row, "transaction_id")?, value: batch })
    }

    async fn claim(
        &mut self,
        transaction: &Transaction<'_>,
    ) -> Result<Option<(Vec<DueFlag>, Batch)>, QueryError> {
        let BatchRequest { after, limit, skip, .. } = self.request;
        let scheduled_at = after.map(|after| after.scheduled_at);
        let created_at = after.map(|after| after.created_at);
        let id = after.map(|after| after.id.0);
        let skip: Vec<Uuid> = skip.iter().map(|flag| flag.0).collect();
        let rows = transaction
            .query_typed(
                CLAIM,
                &[
                    (&scheduled_at, Type::TIMESTAMPTZ),
                    (&created_at, Type::TIMESTAMPTZ),
                    (&id, Type::UUID),
                    (&i64::from(*limit), Type::INT8),
                    (&skip, Type::UUID_ARRAY),
                    (&TICKS, Type::INT4),
                    (&self.request.tick, Type::INT4),
                ],
            )
            .await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let flags: Vec<DueFlag> =
            rows.iter().map(claimed).filter_map(Result::transpose).collect::<Result<_, _>>()?;
        let end = DuePosition {
            scheduled_at: field(first, "scheduled_at")?,
            created_at: field(first, "created_at")?,
            id: ScheduleId(field(first, "id")?),
        };
        let schedules = u16::try_from(field::<i64>(first, "schedules_seen")?).unwrap_or(u16::MAX);
        self.claim = Some(Claim { end, schedules, first: None });
        let batch = Batch {
            reached: (schedules >= *limit).then_some(end),
            flags_locked: unsigned(field::<i64>(first, "flags_seen")?) - flags.len() as u64,
            ..Batch::default()
        };
        Ok(Some((flags, batch)))
    }

    /// Reads the due schedules of these flags. Drops and counts flags with a schedule that someone else has locked.
    async fn read_due(
        &mut self,
        transaction: &Transaction<'_>,
        flags: &mut Vec<DueFlag>,
    ) -> Result<Due, QueryError> {
        let ids: Vec<Uuid> = flags.iter().map(|flag| flag.id.0).collect();
        let limit = i64::from(self.request.limit);
        let params = [(&ids as _, Type::UUID_ARRAY), (&PER_FLAG as _, Type::INT8), (&limit as _, Type::INT8)];
        let rows =
            if ids.is_empty() { Vec::new() } else { transaction.query_typed(READ_DUE, &params).await? };
        let mut due: HashMap<Uuid, Option<Vec<DueSchedule>>> = HashMap::new();
        let mut places = Places::new();
        for row in &rows {
            let of_flag = due.entry(field(row, "flag_id")?).or_insert_with(|| Some(Vec::new()));
            if !field::<bool>(row, "is_locked_by_us")? {
                *of_flag = None;
            } else if let Some(of_flag) = of_flag {
                let schedule = due_schedule(row)?;
                places.insert(schedule.id, field(row, "place")?);
                of_flag.push(schedule);
            }
        }
        let flags_locked = due.values().filter(|due| due.is_none()).count() as u64;
        flags.retain_mut(|flag| {
            flag.due = due.remove(&flag.id.0).flatten().unwrap_or_default();
            !flag.due.is_empty()
        });
        if let Some(claim) = &mut self.claim {
            claim.first = flags.first().map(|flag| (flag.id, flag.due[0].id));
        }
        let now = rows.first().map(|row| field(row, "database_now")).transpose()?;
        Ok(Due { now: now.unwrap_or(Timestamp::from_postgres_micros(i64::MIN)), places, flags_locked })
    }
}

fn due_schedule(row: &Row) -> Result<DueSchedule, StoreError> {
    Ok(DueSchedule {
        id: ScheduleId(field(row, "id")?),
        scheduled_at: field::<Option<Timestamp>>(row, "scheduled_at")?
            .unwrap_or(Timestamp::from_postgres_micros(i64::MIN)),
        apply_by: field(row, "apply_by")?,
        updates: stored_json(field(row, "updates")?),
        expect: stored_json(field(row, "expect")?),
    })
}

fn stored_json(text: Option<&str>) -> StoredJson {
    let Some(text) = text else { return StoredJson::Readable(Value::Null) };
    let readable = (text.len() <= JSON_MAX).then(|| serde_json::from_str(text).ok()).flatten();
    readable.map_or(StoredJson::Unreadable, StoredJson::Readable)
}

/// Stores outcomes with their audit events; if `bypass_outbox`, skips the outbox and returns the schedules, from which the
/// events are made.
async fn record(
    transaction: &Transaction<'_>,
    columns: &OutcomeColumns,
    context: &Json<impl serde::Serialize + std::fmt::Debug + Sync>,
    bypass_outbox: bool,
) -> Result<Row, QueryError> {
    let mut params = columns.params();
    params.push((context, Type::JSONB));
    params.push((&bypass_outbox, Type::BOOL));
    if bypass_outbox {
        Ok(transaction.query_typed_one(&RECORD.without_outbox(), &params).await?)
    } else {
        Ok(transaction.query_typed_one(RECORD.with_event(), &params).await?)
    }
}

fn claimed(row: &Row) -> Result<Option<DueFlag>, StoreError> {
    let Some(id) = field::<Option<_>>(row, "flag_id")? else { return Ok(None) };
    Ok(Some(DueFlag {
        id: FlagId(id),
        state: FlagState {
            enabled: field(row, "enabled")?,
            rollout_percentage: field(row, "rollout_percentage")?,
        },
        due: Vec::new(),
    }))
}

//! Applying what is due, on PostgreSQL: one transaction a batch.
//!
//! Order of locks everywhere: flag, then schedule. The usual batch costs a constant number of statements. Where the
//! database refuses it, the batch is done again with savepoints: split until the culprit stands alone, or stored
//! without audit rows where the outbox is what is in the way.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use serde_json::Value;
use tokio_postgres::types::{Json, Type};
use tokio_postgres::{Error, Row, Transaction};
use uuid::Uuid;

use super::connection::{Connections, QueryError, within};
use super::fault::Fault;
use super::outbox::{age, unsigned};
use super::piece::{Piece, split};
use super::schedules::{field, read_schedule};
use super::statement::Change;
use crate::domain::apply::{DueFlag, DueSchedule, Failure};
use crate::domain::audit_event::EventContext;
use crate::domain::flag::{FlagId, FlagState};
use crate::domain::schedule::{Schedule, ScheduleId};
use crate::domain::step::{Batch, DuePosition, StillDue};
use crate::domain::time::Timestamp;
use crate::error::StoreError;
use crate::ports::Decide;

const CLAIM: &str = include_str!("sql/claim_flags.sql");
const READ_DUE: &str = include_str!("sql/read_due.sql");
pub(super) const RECORD: Change = Change(include_str!("sql/record_outcomes.sql"));
const COUNT_DUE: &str = include_str!("sql/count_due.sql");

/// Due schedules that one claim looks at, at most.
const WINDOW: i64 = 5_000;
/// Schedules of one flag in one batch, at most: always the oldest.
const PER_FLAG: i64 = 100;
/// A batch may take this long.
const BATCH_LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn apply_due(
    connections: &Connections,
    after: Option<DuePosition>,
    context: &EventContext,
    decide: &Decide,
    deadline: Instant,
) -> Result<Batch, StoreError> {
    let deadline = deadline.min(Instant::now() + BATCH_LIMIT);
    let mut step = Step { after, context, decide, carefully: false };
    let mut repeated = false;
    loop {
        let mut client = connections.get(deadline).await?;
        let result = within(deadline, step.run(&mut client)).await;
        match connections.finish(client, result, "a batch of due schedules").await {
            Ok(batch) => return Ok(batch),
            Err(error) => match error.fault() {
                Fault::Data | Fault::MaybeOutbox if !step.carefully => step.carefully = true,
                // Repeating is safe even if the commit went through and only its answer was lost: what is done is not
                // due any more.
                Fault::Connection | Fault::Conflict if !repeated => repeated = true,
                _ => return Err(error.into()),
            },
        }
    }
}

pub(super) async fn still_due(connections: &Connections) -> Result<StillDue, StoreError> {
    let rows = connections.query(COUNT_DUE, &[]).await?;
    let Some(row) = rows.first() else { return Ok(StillDue::default()) };
    Ok(StillDue { count: unsigned(field(row, "due")?), oldest_age: age(field(row, "oldest_age_seconds")?) })
}

/// One batch, in one transaction.
struct Step<'a> {
    after: Option<DuePosition>,
    context: &'a EventContext,
    decide: &'a Decide,
    /// With savepoints, after the database has refused the plain way.
    carefully: bool,
}

impl Step<'_> {
    async fn run(&self, client: &mut Object) -> Result<Batch, QueryError> {
        let mut transaction = client.transaction().await?;
        let (mut flags, next) = self.claim(&transaction).await?;
        let mut batch = Batch { next, ..Batch::default() };
        let now = read_due(&transaction, &mut flags).await?;
        flags.retain(|flag| !flag.due.is_empty());
        if flags.is_empty() {
            transaction.rollback().await?;
            return Ok(batch);
        }
        if self.carefully {
            self.record_carefully(&mut transaction, flags, now, &mut batch).await?;
        } else {
            let piece = Piece::decided(&flags, self.decide, now);
            record(&transaction, RECORD.with_event(), &piece, self.context, false).await?;
            batch.ended.extend(piece.ended);
        }
        transaction.commit().await?;
        Ok(batch)
    }

    async fn claim(
        &self,
        transaction: &Transaction<'_>,
    ) -> Result<(Vec<DueFlag>, Option<DuePosition>), QueryError> {
        let micros = |micros| DateTime::from_timestamp_micros(micros);
        let scheduled_at = self.after.and_then(|after| micros(after.scheduled_at_micros));
        let created_at = self.after.and_then(|after| micros(after.created_at_micros));
        let id = self.after.map(|after| after.id.0);
        let rows = transaction
            .query_typed(
                CLAIM,
                &[
                    (&scheduled_at, Type::TIMESTAMPTZ),
                    (&created_at, Type::TIMESTAMPTZ),
                    (&id, Type::UUID),
                    (&WINDOW, Type::INT8),
                ],
            )
            .await?;
        let Some(first) = rows.first() else { return Ok((Vec::new(), None)) };
        let next = if first.try_get::<_, i64>("looked_at")? < WINDOW { None } else { Some(position(first)?) };
        let flags = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
        Ok((flags.into_iter().flatten().collect(), next))
    }

    /// Splits what the database refuses until the culprit stands alone, fails it, and stores the rest.
    async fn record_carefully(
        &self,
        transaction: &mut Transaction<'_>,
        flags: Vec<DueFlag>,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), QueryError> {
        let mut states: HashMap<FlagId, FlagState> = HashMap::new();
        let mut pieces = vec![(flags, None)];
        while let Some((mut flags, rejection)) = pieces.pop() {
            for flag in &mut flags {
                flag.state = states.get(&flag.id).copied().unwrap_or(flag.state);
            }
            let piece = match &rejection {
                None => Piece::decided(&flags, self.decide, now),
                Some(reason) => Piece::failed(&flags, &Failure::RejectedByDatabase(String::clone(reason))),
            };
            match self.record_piece(transaction, &piece, batch).await {
                Ok(()) => {
                    states.extend(piece.states());
                    batch.ended.extend(piece.ended);
                }
                Err(error) if error.fault() != Fault::Data => return Err(error),
                Err(error) if rejection.is_some() => {
                    // Not even the failure can be stored: the row stays pending, and harms nobody else.
                    let schedule_id = piece.ended.first().map(|ended| ended.id.to_string());
                    tracing::error!(
                        schedule_id,
                        reason = error.words(),
                        "a schedule can neither be applied nor failed"
                    );
                }
                Err(error) => match split(flags) {
                    (first, Some(second)) => pieces.extend([(second, None), (first, None)]),
                    (culprit, None) => pieces.push((culprit, Some(error.words()))),
                },
            }
        }
        Ok(())
    }

    /// Stores a piece from a savepoint, without audit rows where the outbox is in the way.
    async fn record_piece(
        &self,
        transaction: &mut Transaction<'_>,
        piece: &Piece,
        batch: &mut Batch,
    ) -> Result<(), QueryError> {
        if batch.without_outbox.is_none() {
            let savepoint = transaction.savepoint("piece").await?;
            match record(&savepoint, RECORD.with_event(), piece, self.context, false).await {
                Ok(_) => return Ok(savepoint.commit().await?),
                Err(error) => {
                    savepoint.rollback().await?;
                    if error.fault() != Fault::MaybeOutbox {
                        return Err(error);
                    }
                    batch.without_outbox = Some((error.into_source(), Vec::new()));
                }
            }
        }
        let savepoint = transaction.savepoint("piece").await?;
        match record(&savepoint, &RECORD.alone(), piece, self.context, true).await {
            Ok(recorded) => {
                savepoint.commit().await?;
                batch
                    .without_outbox
                    .iter_mut()
                    .for_each(|(_, schedules)| schedules.extend_from_slice(&recorded));
                Ok(())
            }
            Err(error) => {
                savepoint.rollback().await?;
                Err(error)
            }
        }
    }
}

async fn read_due(transaction: &Transaction<'_>, flags: &mut [DueFlag]) -> Result<Timestamp, Error> {
    let ids: Vec<Uuid> = flags.iter().map(|flag| flag.id.0).collect();
    let mut by_id: HashMap<Uuid, &mut DueFlag> = flags.iter_mut().map(|flag| (flag.id.0, flag)).collect();
    let mut now = DateTime::<Utc>::MIN_UTC;
    let rows = if ids.is_empty() {
        Vec::new()
    } else {
        transaction.query_typed(READ_DUE, &[(&ids, Type::UUID_ARRAY), (&PER_FLAG, Type::INT8)]).await?
    };
    for row in rows {
        now = row.try_get("database_now")?;
        let apply_by: Option<DateTime<Utc>> = row.try_get("apply_by")?;
        // What is nested too deep to be read is as bad as any other text there, and must not stop the others.
        let updates = row.try_get::<_, Json<Value>>("updates");
        let updates = updates.map_or_else(|_| Value::from("unreadable"), |Json(updates)| updates);
        let due = DueSchedule {
            id: ScheduleId(row.try_get("id")?),
            apply_by: apply_by.map(Timestamp::cut),
            updates,
        };
        if let Some(flag) = by_id.get_mut(&row.try_get("flag_id")?) {
            flag.due.push(due);
        }
    }
    Ok(Timestamp::cut(now))
}

/// Stores a piece with its audit events; or alone, and then gives the schedules that the events are to be made of.
async fn record(
    transaction: &Transaction<'_>,
    sql: &str,
    piece: &Piece,
    context: &EventContext,
    alone: bool,
) -> Result<Vec<Schedule>, QueryError> {
    let context = Json(context);
    let mut params = piece.params();
    params.push((&context, Type::JSONB));
    params.push((&alone, Type::BOOL));
    let row = transaction.query_typed_one(sql, &params).await?;
    piece.check_counts(&row)?;
    let schedules: Option<Json<Vec<Value>>> = row.try_get("schedules")?;
    let schedules = schedules.map(|Json(schedules)| schedules).unwrap_or_default();
    schedules
        .into_iter()
        .map(|value| {
            let id = value["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_default();
            read_schedule(value, ScheduleId(id)).map_err(QueryError::Store)
        })
        .collect()
}

fn claimed(row: &Row) -> Result<Option<DueFlag>, Error> {
    let Some(id) = row.try_get::<_, Option<Uuid>>("flag_id")? else { return Ok(None) };
    Ok(Some(DueFlag {
        id: FlagId(id),
        state: FlagState {
            enabled: row.try_get("enabled")?,
            rollout_percentage: row.try_get("rollout_percentage")?,
        },
        due: Vec::new(),
    }))
}

fn position(row: &Row) -> Result<DuePosition, Error> {
    let scheduled_at: DateTime<Utc> = row.try_get("scheduled_at")?;
    let created_at: DateTime<Utc> = row.try_get("created_at")?;
    Ok(DuePosition {
        scheduled_at_micros: scheduled_at.timestamp_micros(),
        created_at_micros: created_at.timestamp_micros(),
        id: ScheduleId(row.try_get("id")?),
    })
}

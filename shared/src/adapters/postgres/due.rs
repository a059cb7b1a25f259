//! Applying what is due, on PostgreSQL: one transaction a batch.
//!
//! Order of locks everywhere: flag, then schedule. The usual batch costs a constant number of statements. Where the
//! database refuses it, the batch is done again with savepoints: split until the culprit stands alone, or stored
//! without audit rows where the outbox is what is in the way. Where it runs into a lock or statement timeout, the
//! batch is made smaller, down to the one flag that is then left to the next tick.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::types::{Json, Type};
use tokio_postgres::{Error, Row, Transaction};
use uuid::Uuid;

use super::connection::{Connections, Object, QueryError, within};
use super::fault::Fault;
use super::outbox::{age, unsigned};
use super::piece::{Piece, split};
use super::schedules::field;
use super::statement::Change;
use crate::domain::apply::{DueFlag, DueSchedule, Failure};
use crate::domain::audit_event::EventContext;
use crate::domain::flag::{FlagId, FlagState};
use crate::domain::schedule::{Schedule, ScheduleId};
use crate::domain::step::{Batch, DuePosition, Progress, StillDue};
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
/// By how much a batch is made smaller that ran into a time limit: twice, and it looks at one schedule.
const NARROWER: i64 = 71;
/// Before a batch is repeated that was in a deadlock: the other one must get its lock first, or they meet again.
const CONFLICT_PAUSE: Duration = Duration::from_millis(100);
/// A batch may take this long.
const BATCH_LIMIT: Duration = Duration::from_secs(20);
/// The reason that is stored with a schedule has at most this many characters: a trigger may say anything.
const REASON_MAX: usize = 500;

pub(super) async fn apply_due(
    connections: &Connections,
    progress: &mut Progress,
    context: &EventContext,
    decide: &Decide,
    deadline: Instant,
) -> Result<Batch, StoreError> {
    let deadline = deadline.min(Instant::now() + BATCH_LIMIT);
    let (mut carefully, mut repeated) = (false, false);
    loop {
        let window = window(progress);
        let mut step = Step { progress, context, decide, carefully, window, claim: Claim::default() };
        let mut client = connections.get(deadline).await?;
        let result = within(deadline, step.run(&mut client)).await;
        let result = connections.finish(client, result, "a batch of due schedules").await;
        let Claim { reached, looked_at_all, flag } = step.claim;
        let error = match result {
            Ok(batch) => {
                progress.pass(reached.filter(|_| !looked_at_all));
                progress.left.extend(batch.left.iter().map(|(flag, _)| *flag));
                return Ok(batch);
            }
            Err(error) => error,
        };
        match (error.fault(), reached, flag) {
            (Fault::Data | Fault::MaybeOutbox | Fault::Other, ..) if !carefully => carefully = true,
            // Repeating is safe even if the commit went through and only its answer was lost: what is done is not due
            // any more.
            (Fault::Connection, ..) if !repeated => repeated = true,
            (Fault::Conflict, ..) if !repeated => {
                repeated = true;
                tokio::time::sleep(CONFLICT_PAUSE).await;
            }
            (_, Some(reached), _) if error.is_time_limit() && window > 1 => progress.too_slow.push(reached),
            (_, Some(reached), Some(flag)) if error.is_time_limit() => {
                progress.too_slow.clear();
                progress.pass(Some(reached));
                progress.left.push(flag);
                return Ok(Batch { left: vec![(flag, error.into_source())], ..Batch::default() });
            }
            _ => return Err(error.into()),
        }
    }
}

/// How many due schedules to look at: fewer, as long as this is where more took too long.
fn window(progress: &Progress) -> i64 {
    progress.too_slow.iter().fold(WINDOW, |window, _| (window / NARROWER).max(1))
}

pub(super) async fn still_due(connections: &Connections) -> Result<StillDue, StoreError> {
    let rows = connections.query(COUNT_DUE, &[]).await?;
    let Some(row) = rows.first() else { return Ok(StillDue::default()) };
    Ok(StillDue { count: unsigned(field(row, "due")?), oldest_age: age(field(row, "oldest_age_seconds")?) })
}

/// One batch, in one transaction.
struct Step<'a> {
    progress: &'a Progress,
    context: &'a EventContext,
    decide: &'a Decide,
    /// With savepoints, after the database has refused the plain way.
    carefully: bool,
    /// Due schedules that the claim looks at.
    window: i64,
    /// What it found.
    claim: Claim,
}

/// What a claim found.
#[derive(Default)]
struct Claim {
    /// The position reached, if anything was due.
    reached: Option<DuePosition>,
    /// Whether nothing due lies beyond.
    looked_at_all: bool,
    /// The last flag that was claimed: with the smallest window, the only one.
    flag: Option<FlagId>,
}

impl Step<'_> {
    async fn run(&mut self, client: &mut Object) -> Result<Batch, QueryError> {
        let mut transaction = client.transaction().await?;
        let mut flags = self.claim(&transaction).await?;
        let mut batch = Batch::default();
        let now = read_due(&transaction, &mut flags).await?;
        flags.retain(|flag| !flag.due.is_empty());
        if flags.is_empty() {
            transaction.rollback().await?;
            return Ok(batch);
        }
        if self.carefully {
            // What is checked no sooner than at the commit could not be told apart there.
            transaction.batch_execute("set constraints all immediate").await?;
            self.record_carefully(&mut transaction, flags, now, &mut batch).await?;
        } else {
            let piece = Piece::decided(&flags, self.decide, now);
            record(&transaction, RECORD.with_event(), &piece, self.context, false).await?;
            batch.ended.extend(piece.ended);
        }
        transaction.commit().await?;
        Ok(batch)
    }

    async fn claim(&mut self, transaction: &Transaction<'_>) -> Result<Vec<DueFlag>, QueryError> {
        let micros = |micros| DateTime::from_timestamp_micros(micros);
        let after = self.progress.after;
        let scheduled_at = after.and_then(|after| micros(after.scheduled_at_micros));
        let created_at = after.and_then(|after| micros(after.created_at_micros));
        let id = after.map(|after| after.id.0);
        let left: Vec<Uuid> = self.progress.left.iter().map(|flag| flag.0).collect();
        let rows = transaction
            .query_typed(
                CLAIM,
                &[
                    (&scheduled_at, Type::TIMESTAMPTZ),
                    (&created_at, Type::TIMESTAMPTZ),
                    (&id, Type::UUID),
                    (&self.window, Type::INT8),
                    (&left, Type::UUID_ARRAY),
                ],
            )
            .await?;
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let flags = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
        let flags: Vec<DueFlag> = flags.into_iter().flatten().collect();
        self.claim = Claim {
            reached: Some(position(first)?),
            looked_at_all: first.try_get::<_, i64>("looked_at")? < self.window,
            flag: flags.last().map(|flag| flag.id),
        };
        Ok(flags)
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
        let mut sound = false;
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
                Err(error) if !self.may_be_data(&error, &mut sound, transaction, batch).await? => {
                    return Err(error);
                }
                Err(error) if rejection.is_some() => {
                    // Not even the failure can be stored: the row stays pending, and harms nobody else.
                    let culprit = flags.first().map(|flag| (flag.id, error.into_source()));
                    batch.left.extend(culprit);
                }
                Err(error) => match split(flags) {
                    (first, Some(second)) => pieces.extend([(second, None), (first, None)]),
                    (culprit, None) => pieces.push((culprit, Some(reason(&error)))),
                },
            }
        }
        Ok(())
    }

    /// Whether an error is about the data of the piece that met it. Some codes say so. Others are those of a schema that
    /// is not up to date or of a missing permission, but a trigger may end with any of them: then, and only then, the
    /// same statement works when there is nothing to write.
    async fn may_be_data(
        &self,
        error: &QueryError,
        sound: &mut bool,
        transaction: &mut Transaction<'_>,
        batch: &mut Batch,
    ) -> Result<bool, QueryError> {
        match error.fault() {
            Fault::Data => Ok(true),
            Fault::Connection | Fault::Conflict | Fault::Unavailable => Ok(false),
            Fault::MaybeOutbox | Fault::Other if error.is_time_limit() => Ok(false),
            Fault::MaybeOutbox | Fault::Other => {
                if !*sound {
                    *sound = self.record_piece(transaction, &Piece::default(), batch).await.is_ok();
                }
                Ok(*sound)
            }
        }
    }

    /// Stores a piece from a savepoint, without audit rows where the outbox is in the way.
    async fn record_piece(
        &self,
        transaction: &mut Transaction<'_>,
        piece: &Piece,
        batch: &mut Batch,
    ) -> Result<(), QueryError> {
        let mut refused = None;
        if batch.without_outbox.is_none() {
            let savepoint = transaction.savepoint("piece").await?;
            match record(&savepoint, RECORD.with_event(), piece, self.context, false).await {
                Ok(_) => return Ok(savepoint.commit().await?),
                Err(error) => {
                    savepoint.rollback().await?;
                    if error.fault() != Fault::MaybeOutbox {
                        return Err(error);
                    }
                    refused = Some(error);
                }
            }
        }
        let savepoint = transaction.savepoint("piece").await?;
        match record(&savepoint, &RECORD.alone(), piece, self.context, true).await {
            Ok(recorded) => {
                savepoint.commit().await?;
                // Now it is known that it was the outbox.
                let refused = refused.map(|error| (error.into_source(), Vec::new()));
                batch.without_outbox = batch.without_outbox.take().or(refused);
                if let Some((_, schedules)) = &mut batch.without_outbox {
                    schedules.extend(recorded);
                }
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
    let schedules: Option<Json<Vec<Schedule>>> = row.try_get("schedules")?;
    Ok(schedules.map(|Json(schedules)| schedules).unwrap_or_default())
}

/// The server's words, for people.
fn reason(error: &QueryError) -> String {
    error.words().chars().take(REASON_MAX).collect()
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

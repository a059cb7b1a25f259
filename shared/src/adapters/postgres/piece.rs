//! A batch, or a part of one, as the statements that store it want it: in columns.

use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql, Type};
use uuid::Uuid;

use super::connection::QueryError;
use crate::domain::apply::{DueFlag, Failure, Outcome};
use crate::domain::audit_event::EventId;
use crate::domain::flag::{FlagId, FlagState};
use crate::domain::schedule::Status;
use crate::domain::step::Ended;
use crate::domain::time::Timestamp;
use crate::error::StoreError;
use crate::ports::Decide;

/// One parameter of a statement.
type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// Flags and schedules with their outcome, in columns.
#[derive(Default)]
pub(super) struct Piece {
    flag_ids: Vec<Uuid>,
    enabled: Vec<bool>,
    rollout_percentages: Vec<i32>,
    schedule_ids: Vec<Uuid>,
    event_ids: Vec<Uuid>,
    statuses: Vec<&'static str>,
    error_codes: Vec<Option<&'static str>>,
    error_messages: Vec<Option<String>>,
    changes: Vec<Option<Json<Value>>>,
    /// The same, for the report.
    pub(super) ended: Vec<Ended>,
}

impl Piece {
    /// What the decision makes of these flags.
    pub(super) fn decided(flags: &[DueFlag], decide: &Decide, now: Timestamp) -> Self {
        let mut piece = Self::default();
        for flag in flags {
            let (after, outcomes) = decide(flag.state, &flag.due, now);
            // What the database sees of a flag in one batch is its final state, and only if anything was applied.
            if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Applied(_))) {
                piece.flag_ids.push(flag.id.0);
                piece.enabled.push(after.enabled);
                piece.rollout_percentages.push(after.rollout_percentage);
            }
            for (due, outcome) in flag.due.iter().zip(outcomes) {
                piece.push(due.id.0, outcome);
            }
        }
        piece
    }

    /// All schedules of these flags failed; the flags stay as they are.
    pub(super) fn failed(flags: &[DueFlag], failure: &Failure) -> Self {
        let mut piece = Self::default();
        for due in flags.iter().flat_map(|flag| &flag.due) {
            piece.push(due.id.0, Outcome::Failed(failure.clone()));
        }
        piece
    }

    fn push(&mut self, id: Uuid, outcome: Outcome) {
        let event_id = EventId::new();
        let (status, error, change) = match &outcome {
            Outcome::Applied(change) => (Status::Applied, None, serde_json::to_value(change).ok()),
            Outcome::Failed(failure) => (Status::Failed, Some(failure), None),
        };
        self.schedule_ids.push(id);
        self.event_ids.push(event_id.0);
        self.statuses.push(status.as_str());
        self.error_codes.push(error.map(Failure::code));
        self.error_messages.push(error.map(ToString::to_string));
        self.changes.push(change.map(Json));
        self.ended.push(Ended { id: crate::domain::schedule::ScheduleId(id), event_id, outcome });
    }

    /// The flags' new states.
    pub(super) fn states(&self) -> impl Iterator<Item = (FlagId, FlagState)> {
        self.flag_ids.iter().zip(&self.enabled).zip(&self.rollout_percentages).map(
            |((id, enabled), rollout_percentage)| {
                (FlagId(*id), FlagState { enabled: *enabled, rollout_percentage: *rollout_percentage })
            },
        )
    }

    /// The parameters of `record_outcomes` but for the last two.
    pub(super) fn params(&self) -> Vec<Param<'_>> {
        vec![
            (&self.flag_ids, Type::UUID_ARRAY),
            (&self.enabled, Type::BOOL_ARRAY),
            (&self.rollout_percentages, Type::INT4_ARRAY),
            (&self.schedule_ids, Type::UUID_ARRAY),
            (&self.event_ids, Type::UUID_ARRAY),
            (&self.statuses, Type::TEXT_ARRAY),
            (&self.error_codes, Type::TEXT_ARRAY),
            (&self.error_messages, Type::TEXT_ARRAY),
            (&self.changes, Type::JSONB_ARRAY),
        ]
    }

    /// Every flag and every schedule must have been written: they are locked, so nothing else can have happened.
    pub(super) fn check_counts(&self, row: &Row) -> Result<(), QueryError> {
        for (column, expected) in
            [("flags_changed", self.flag_ids.len()), ("schedules_ended", self.schedule_ids.len())]
        {
            let written: i64 = row.try_get(column)?;
            if usize::try_from(written) != Ok(expected) {
                let source = format!("{column} is {written} and should be {expected}").into();
                return Err(QueryError::Store(StoreError::Refused(source)));
            }
        }
        Ok(())
    }
}

/// Cuts a refused piece in two, in order; `None` when it is one schedule.
pub(super) fn split(mut flags: Vec<DueFlag>) -> (Vec<DueFlag>, Option<Vec<DueFlag>>) {
    if flags.len() > 1 {
        let second = flags.split_off(flags.len() / 2);
        return (flags, Some(second));
    }
    let second = flags.iter_mut().find(|flag| flag.due.len() > 1).map(|flag| {
        let due = flag.due.split_off(flag.due.len() / 2);
        vec![DueFlag { due, ..flag.clone() }]
    });
    (flags, second)
}

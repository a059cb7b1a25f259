//! The outcomes of a batch in columns, as the statement that stores them needs them.

use std::collections::HashMap;

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::rows::{Place, field};
use super::session::Param;
use crate::domain::apply::{DueFlag, DueSchedule, Failure, Outcome, decide};
use crate::domain::audit_event::{AuditEvent, EventContext, EventId, EventType, FlagChange};
use crate::domain::flag::{FlagId, FlagState};
use crate::domain::schedule::{Schedule, ScheduleId, Status};
use crate::domain::time::Timestamp;
use crate::ports::due::Ended;
use crate::ports::store_error::StoreError;

/// One member of a context.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Facts {
    Change(FlagChange),
    State(FlagState),
}

/// The places of a batch's due schedules. They do not change as long as its transaction holds the rows' locks.
pub(super) type Places = HashMap<ScheduleId, Place>;

#[derive(Default)]
pub(super) struct OutcomeColumns {
    flag_ids: Vec<Uuid>,
    enabled: Vec<bool>,
    rollout_percentages: Vec<i32>,
    schedule_ids: Vec<Uuid>,
    places: Vec<Option<Place>>,
    event_ids: Vec<Uuid>,
    statuses: Vec<&'static str>,
    error_codes: Vec<Option<&'static str>>,
    error_messages: Vec<Option<String>>,
    /// What the events say besides the row, as members of their context.
    facts: Vec<Json<Facts>>,
    /// The same outcomes, for the report.
    pub(super) ended: Vec<Ended>,
}

impl OutcomeColumns {
    /// Decides these flags' outcomes; the schedule in `reject` fails in any case.
    pub(super) fn decided(
        flags: &[DueFlag],
        places: &Places,
        now: Timestamp,
        reject: Option<&(ScheduleId, String)>,
    ) -> Self {
        let mut columns = Self::default();
        for flag in flags {
            let rejected =
                reject.and_then(|(id, reason)| Some((flag.due.iter().find(|due| due.id == *id)?, reason)));
            if let Some((rejected, reason)) = rejected {
                let failure = Failure::RejectedByDatabase(reason.clone());
                columns.push(flag.id, rejected, Outcome::Failed(failure, flag.state), now);
                continue;
            }
            let (after, outcomes) = decide(flag.state, &flag.due, now);
            // Write only a flag's final state, and only if anything was applied.
            if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Applied(_))) {
                columns.flag_ids.push(flag.id.0);
                columns.enabled.push(after.enabled);
                columns.rollout_percentages.push(after.rollout_percentage);
            }
            for (due, outcome) in flag.due.iter().zip(outcomes) {
                columns.push(flag.id, due, outcome, now);
            }
        }
        columns.places = columns.ended.iter().map(|ended| places.get(&ended.id).copied()).collect();
        columns
    }

    fn push(&mut self, flag_id: FlagId, due: &DueSchedule, outcome: Outcome, now: Timestamp) {
        let event_id = EventId::new();
        let id = due.id;
        let (status, error, facts) = match &outcome {
            Outcome::Applied(change) => (Status::Applied, None, Facts::Change(*change)),
            Outcome::Failed(failure, state) => (Status::Failed, Some(failure), Facts::State(*state)),
        };
        let lateness = now.since(due.scheduled_at).to_std().unwrap_or_default();
        self.schedule_ids.push(id.0);
        self.event_ids.push(event_id.0);
        self.statuses.push(status.as_str());
        self.error_codes.push(error.map(Failure::code));
        self.error_messages.push(error.map(Failure::message));
        self.facts.push(Json(facts));
        self.ended.push(Ended { id, flag_id, event_id, outcome, lateness });
    }

    /// All parameters of `record_outcomes` but the last two.
    pub(super) fn params(&self) -> Vec<Param<'_>> {
        vec![
            (&self.flag_ids, Type::UUID_ARRAY),
            (&self.enabled, Type::BOOL_ARRAY),
            (&self.rollout_percentages, Type::INT4_ARRAY),
            (&self.schedule_ids, Type::UUID_ARRAY),
            (&self.places, Type::TID_ARRAY),
            (&self.event_ids, Type::UUID_ARRAY),
            (&self.statuses, Type::TEXT_ARRAY),
            (&self.error_codes, Type::TEXT_ARRAY),
            (&self.error_messages, Type::TEXT_ARRAY),
            (&self.facts, Type::JSONB_ARRAY),
        ]
    }

    /// All flags, schedules and events must have been written: the first two are locked, so only a trigger can have
    /// prevented it.
    pub(super) fn check_counts(&self, row: &Row, bypass_outbox: bool) -> Result<(), StoreError> {
        let ended = self.schedule_ids.len();
        let changes = [("flags_changed", self.flag_ids.len()), ("schedules_ended", ended)];
        let events = (!bypass_outbox).then_some(("events_stored", ended));
        for (column, expected) in changes.into_iter().chain(events) {
            let written: i64 = field(row, column)?;
            if usize::try_from(written) != Ok(expected) {
                return Err(StoreError::Internal(
                    format!("{column} is {written} and should be {expected}").into(),
                ));
            }
        }
        Ok(())
    }

    /// From the schedules as stored, which are in the same order.
    pub(super) fn events(
        &self,
        context: &EventContext,
        schedules: &[Schedule],
    ) -> Result<Vec<AuditEvent>, StoreError> {
        let event = |(ended, schedule): (&Ended, _)| {
            let (event_type, change, state) = match &ended.outcome {
                Outcome::Applied(change) => (EventType::Applied, Some(*change), None),
                Outcome::Failed(_, state) => (EventType::Failed, None, Some(*state)),
            };
            let context = EventContext { change, state, ..context.clone() };
            AuditEvent::of(ended.event_id, event_type, context, schedule)
        };
        let events = self.ended.iter().zip(schedules).map(event).collect::<Result<_, _>>();
        events.map_err(|error| StoreError::Internal(error.into()))
    }
}

//! Applies due schedules to a flag: pure functions over claimed rows, without a clock or a database.

use serde_json::Value;
use thiserror::Error;

use super::audit_event::FlagChange;
use super::flag::{FlagId, FlagState};
use super::schedule::{ScheduleId, Updates, UpdatesError};
use super::time::Timestamp;

/// A claimed flag and its due schedules.
#[derive(Debug, Clone, PartialEq)]
pub struct DueFlag {
    pub id: FlagId,
    /// State when claimed.
    pub state: FlagState,
    /// In application order: `scheduled_at`, `created_at`, `id`.
    pub due: Vec<DueSchedule>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DueSchedule {
    pub id: ScheduleId,
    pub scheduled_at: Timestamp,
    /// Not applied after this time.
    pub apply_by: Option<Timestamp>,
    pub updates: StoredJson,
    /// The state that the flag must have; null for any.
    pub expect: StoredJson,
}

/// As stored, not validated yet.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredJson {
    Readable(Value),
    /// Too long, or too deeply nested to parse.
    Unreadable,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Applied(FlagChange),
    /// Final: a failed schedule is never retried. The state is the flag's as it was found.
    Failed(Failure, FlagState),
}

/// The message is for people; the code ([`Failure::code`]) is stable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    #[error("the stored `updates` cannot be applied: {0}")]
    InvalidUpdates(String),
    #[error("the stored `expect` cannot be read: {0}")]
    InvalidExpect(String),
    /// A description of each field that differs.
    #[error("the flag is not in the expected state: {0}")]
    UnexpectedState(String),
    #[error("it was to be applied by {apply_by} and came up at {now}")]
    Expired {
        apply_by: Timestamp,
        /// The database's time.
        now: Timestamp,
    },
    #[error("the database refused the flag's new state: {0}")]
    RejectedByDatabase(String),
}

/// Maximum length of stored and audited messages, in characters: triggers and stored keys can produce text of any
/// length.
const MESSAGE_MAX: usize = 500;
/// Maximum number of faults in stored `updates` that a message lists.
const FAULTS_NAMED: usize = 5;

impl Failure {
    /// As stored and audited: at most 500 characters, without NUL, which PostgreSQL cannot store.
    #[must_use]
    pub fn message(&self) -> String {
        self.to_string().chars().filter(|char| *char != '\0').take(MESSAGE_MAX).collect()
    }

    /// Stable: stored in `error_code` and in the audit event.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidUpdates(_) | Self::InvalidExpect(_) => "invalid_updates",
            Self::UnexpectedState(_) => "unexpected_state",
            Self::Expired { .. } => "expired",
            Self::RejectedByDatabase(_) => "rejected_by_database",
        }
    }
}

/// Applies due schedules in the given order; later changes win, field by field. Each meets the state that the one before it
/// left. Returns the final state and one outcome per schedule.
#[must_use]
pub fn decide(state: FlagState, due: &[DueSchedule], now: Timestamp) -> (FlagState, Vec<Outcome>) {
    let mut current = state;
    let outcomes = due
        .iter()
        .map(|schedule| match evaluate(schedule, current, now) {
            Ok(updates) => {
                let before = current;
                current = updated(before, updates);
                Outcome::Applied(FlagChange { before, after: current })
            }
            Err(failure) => Outcome::Failed(failure, current),
        })
        .collect();
    (current, outcomes)
}

fn evaluate(schedule: &DueSchedule, state: FlagState, now: Timestamp) -> Result<Updates, Failure> {
    let updates = read(&schedule.updates).map_err(Failure::InvalidUpdates)?;
    let expect = match &schedule.expect {
        StoredJson::Readable(Value::Null) => None,
        stored => Some(read(stored).map_err(Failure::InvalidExpect)?),
    };
    if let Some(apply_by) = schedule.apply_by.filter(|apply_by| now > *apply_by) {
        return Err(Failure::Expired { apply_by, now });
    }
    match expect.and_then(|expect| contradiction(expect, state)) {
        Some(differences) => Err(Failure::UnexpectedState(differences)),
        None => Ok(updates),
    }
}

fn read(stored: &StoredJson) -> Result<Updates, String> {
    let StoredJson::Readable(value) = stored else {
        return Err("it is too long, or nested too deeply".to_owned());
    };
    Updates::parse_stored(value).map_err(|faults| {
        let mut named: Vec<_> = faults.iter().take(FAULTS_NAMED).map(describe).collect();
        if faults.len() > FAULTS_NAMED {
            named.push(format!("and {} more", faults.len() - FAULTS_NAMED));
        }
        named.join("; ")
    })
}

/// How the state differs in the fields that are named; `None` if it does not.
fn contradiction(expect: Updates, state: FlagState) -> Option<String> {
    let enabled = expect
        .enabled
        .filter(|expected| *expected != state.enabled)
        .map(|expected| format!("`enabled` is {}, not {expected}", state.enabled));
    let rollout_percentage = expect
        .rollout_percentage
        .filter(|expected| i32::from(*expected) != state.rollout_percentage)
        .map(|expected| format!("`rollout_percentage` is {}, not {expected}", state.rollout_percentage));
    let differences: Vec<_> = enabled.into_iter().chain(rollout_percentage).collect();
    (!differences.is_empty()).then(|| differences.join(", "))
}

fn describe(fault: &UpdatesError) -> String {
    match fault.field() {
        // Stored keys can be of any length; the message is for people.
        Some(field) => format!("`{}` {fault}", field.chars().take(60).collect::<String>()),
        None => fault.to_string(),
    }
}

fn updated(state: FlagState, updates: Updates) -> FlagState {
    FlagState {
        enabled: updates.enabled.unwrap_or(state.enabled),
        rollout_percentage: updates.rollout_percentage.map_or(state.rollout_percentage, i32::from),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};
    use uuid::Uuid;

    use super::*;

    const OFF: FlagState = FlagState { enabled: false, rollout_percentage: 10 };

    fn now() -> Timestamp {
        Timestamp::parse("2026-02-09T09:00:00Z").unwrap()
    }

    fn due(updates: Value) -> DueSchedule {
        DueSchedule {
            id: ScheduleId(Uuid::new_v4()),
            scheduled_at: now(),
            apply_by: None,
            updates: StoredJson::Readable(updates),
            expect: StoredJson::Readable(Value::Null),
        }
    }

    #[test]
    fn later_changes_win_field_by_field() {
        let schedules =
            [due(json!({"enabled": true, "rollout_percentage": 50})), due(json!({"rolloutPercentage": 20}))];

        let (state, outcomes) = decide(OFF, &schedules, now());

        let middle = FlagState { enabled: true, rollout_percentage: 50 };
        let last = FlagState { enabled: true, rollout_percentage: 20 };
        assert_eq!(state, last);
        assert_eq!(
            outcomes,
            [
                Outcome::Applied(FlagChange { before: OFF, after: middle }),
                Outcome::Applied(FlagChange { before: middle, after: last }),
            ]
        );
    }

    #[test]
    fn a_bad_row_fails_alone() {
        let schedules = [
            due(json!({"enabled": true})),
            due(json!({"enabled": "yes"})),
            due(json!({"rollout_percentage": 5})),
        ];

        let (state, outcomes) = decide(OFF, &schedules, now());

        assert_eq!(state, FlagState { enabled: true, rollout_percentage: 5 });
        let Outcome::Failed(failure, _) = &outcomes[1] else {
            panic!("expected a failure, got {:?}", outcomes[1])
        };
        assert_eq!(failure.code(), "invalid_updates");
        assert_eq!(
            failure.to_string(),
            "the stored `updates` cannot be applied: `enabled` must be true or false"
        );
        let Outcome::Applied(change) = &outcomes[2] else {
            panic!("expected applied, got {:?}", outcomes[2])
        };
        assert_eq!(change.before, FlagState { enabled: true, rollout_percentage: 10 });
    }

    #[test]
    fn stored_text_lists_and_nothing_are_invalid_updates() {
        for stored in [json!("x"), json!([]), json!(null), json!({}), json!({"rollout_percentage": 101})] {
            let (state, outcomes) = decide(OFF, &[due(stored.clone())], now());

            assert_eq!(state, OFF);
            assert!(
                matches!(outcomes[..], [Outcome::Failed(Failure::InvalidUpdates(_), OFF)]),
                "for {stored}: {outcomes:?}"
            );
        }
    }

    #[test]
    fn what_is_past_its_apply_by_expires_and_the_very_moment_is_not_past() {
        let by = |text| DueSchedule { apply_by: Timestamp::parse(text), ..due(json!({"enabled": true})) };

        let (state, outcomes) = decide(OFF, &[by("2026-02-09T08:59:59.999Z")], now());
        assert_eq!(state, OFF);
        assert!(matches!(outcomes[..], [Outcome::Failed(Failure::Expired { .. }, OFF)]), "{outcomes:?}");

        let (state, _) = decide(OFF, &[by("2026-02-09T09:00:00Z")], now());
        assert!(state.enabled);
    }

    fn expecting(expect: Value, updates: Value) -> DueSchedule {
        DueSchedule { expect: StoredJson::Readable(expect), ..due(updates) }
    }

    #[test]
    fn a_flag_that_is_not_as_expected_is_left_alone() {
        let schedules = [
            expecting(json!({"rollout_percentage": 10}), json!({"rollout_percentage": 50})),
            expecting(json!({"enabled": true, "rollout_percentage": 10}), json!({"enabled": true})),
            expecting(json!({"enabled": false, "rollout_percentage": 50}), json!({"enabled": true})),
        ];

        let (state, outcomes) = decide(OFF, &schedules, now());

        let found = FlagState { enabled: false, rollout_percentage: 50 };
        assert_eq!(state, FlagState { enabled: true, rollout_percentage: 50 });
        let Outcome::Failed(failure, state) = &outcomes[1] else { panic!("{outcomes:?}") };
        assert_eq!((failure.code(), *state), ("unexpected_state", found));
        assert_eq!(
            failure.message(),
            "the flag is not in the expected state: `enabled` is false, not true, `rollout_percentage` is 50, not 10"
        );
        assert!(matches!(outcomes[2], Outcome::Applied(_)), "{outcomes:?}");
    }

    #[test]
    fn a_stored_expectation_that_cannot_be_read_applies_nothing() {
        for stored in [json!("x"), json!([]), json!({}), json!({"enabled": 1}), json!({"colour": 1})] {
            let (state, outcomes) =
                decide(OFF, &[expecting(stored.clone(), json!({"enabled": true}))], now());

            assert_eq!(state, OFF);
            let [Outcome::Failed(failure, OFF)] = &outcomes[..] else { panic!("{stored}: {outcomes:?}") };
            assert_eq!(failure.code(), "invalid_updates");
        }
        let unreadable = DueSchedule { expect: StoredJson::Unreadable, ..due(json!({"enabled": true})) };
        let (_, outcomes) = decide(OFF, &[unreadable], now());
        assert!(matches!(outcomes[..], [Outcome::Failed(Failure::InvalidExpect(_), OFF)]), "{outcomes:?}");
    }

    #[test]
    fn a_message_is_short_whatever_is_stored() {
        let keys: Map<String, Value> =
            (0..20_000).map(|n| (format!("{n}{}", "\0x".repeat(60)), Value::Null)).collect();
        let unreadable = DueSchedule { updates: StoredJson::Unreadable, ..due(json!(null)) };
        let reason = Failure::RejectedByDatabase("é".repeat(2_000));

        let (_, outcomes) = decide(OFF, &[due(Value::Object(keys)), unreadable], now());

        for outcome in outcomes.into_iter().chain([Outcome::Failed(reason, OFF)]) {
            let Outcome::Failed(failure, _) = outcome else { panic!("expected a failure, got {outcome:?}") };
            let message = failure.message();
            assert!((1..=MESSAGE_MAX).contains(&message.chars().count()), "{message}");
            assert!(!message.contains('\0'), "{message:?}");
        }
    }

    #[test]
    fn nothing_due_changes_nothing() {
        assert_eq!(decide(OFF, &[], now()), (OFF, vec![]));
    }

    proptest::proptest! {
        #[test]
        fn each_change_starts_where_the_one_before_it_ended(
            steps in proptest::collection::vec((proptest::option::of(proptest::bool::ANY), -20i32..=120), 0..12)
        ) {
            let schedules: Vec<_> = steps
                .iter()
                .map(|(enabled, percentage)| match enabled {
                    Some(enabled) => due(json!({"enabled": enabled, "rollout_percentage": percentage})),
                    None => due(json!({"rollout_percentage": percentage})),
                })
                .collect();

            let (state, outcomes) = decide(OFF, &schedules, now());

            proptest::prop_assert_eq!(outcomes.len(), schedules.len());
            let mut expected = OFF;
            for ((enabled, percentage), outcome) in steps.iter().zip(&outcomes) {
                let valid = (0..=100).contains(percentage);
                proptest::prop_assert_eq!(matches!(outcome, Outcome::Applied(_)), valid);
                if let Outcome::Applied(change) = outcome {
                    proptest::prop_assert_eq!(change.before, expected);
                    expected = FlagState {
                        enabled: enabled.unwrap_or(expected.enabled),
                        rollout_percentage: *percentage,
                    };
                    proptest::prop_assert_eq!(change.after, expected);
                }
            }
            proptest::prop_assert_eq!(state, expected);
        }
    }
}

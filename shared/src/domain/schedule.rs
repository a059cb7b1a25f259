//! Scheduled flag changes and their validation.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;
use uuid::Uuid;

use super::flag::{Environment, FlagAddress, FlagKey};
use super::time::Timestamp;

/// In characters.
pub const REASON_MAX: usize = 500;
/// In days of 24 hours.
pub const MAX_DAYS_AHEAD: i64 = 366;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScheduleId(pub Uuid);

impl ScheduleId {
    /// A new UUIDv7.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `Pending` changes to exactly one of the other three, which are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Pending,
    Applied,
    Failed,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 4] = [Self::Pending, Self::Applied, Self::Failed, Self::Cancelled];

    /// As in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// Adopted tables may hold other statuses, which are shown unchanged and never claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StoredStatus {
    Known(Status),
    /// Set by another tool, or NULL.
    Foreign(Option<String>),
}

impl From<Option<&str>> for StoredStatus {
    fn from(stored: Option<&str>) -> Self {
        match stored.and_then(Status::parse) {
            Some(status) => Self::Known(status),
            None => Self::Foreign(stored.map(str::to_owned)),
        }
    }
}

impl fmt::Display for StoredStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(status) => f.write_str(status.as_str()),
            Self::Foreign(status) => f.write_str(status.as_deref().unwrap_or("without a status")),
        }
    }
}

/// Values for a flag, to be set or expected. At least one of the two is there; `None` leaves the flag's value unchanged, or
/// expects none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Updates {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// 0–100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout_percentage: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UpdatesError {
    #[error("must be an object with `enabled` and/or `rollout_percentage`")]
    NotAnObject,
    #[error("must have `enabled` (boolean) and/or `rollout_percentage` (integer 0 to 100)")]
    Empty,
    #[error("must be true or false")]
    Enabled,
    #[error("must be an integer from 0 to 100")]
    RolloutPercentage,
    /// An error, so that a typo does not become a silent no-op.
    #[error("is not a known field; there are `enabled` and `rollout_percentage`")]
    Unknown(String),
    #[error("must not be given beside `rollout_percentage`, of which it is the old spelling")]
    BothSpellings,
}

impl UpdatesError {
    /// The offending key; `None` for the object itself.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::NotAnObject | Self::Empty => None,
            Self::Enabled => Some("enabled"),
            Self::RolloutPercentage => Some("rollout_percentage"),
            Self::Unknown(key) => Some(key),
            Self::BothSpellings => Some("rolloutPercentage"),
        }
    }
}

impl Updates {
    /// Parses a caller's object; the error lists every fault.
    pub fn parse(value: &Value) -> Result<Self, Vec<UpdatesError>> {
        Self::read(value, &["rollout_percentage"])
    }

    /// Parses a stored object: rows of an adopted table use `rolloutPercentage`. The error lists every fault.
    pub fn parse_stored(value: &Value) -> Result<Self, Vec<UpdatesError>> {
        Self::read(value, &["rollout_percentage", "rolloutPercentage"])
    }

    fn read(value: &Value, percentage_keys: &[&str]) -> Result<Self, Vec<UpdatesError>> {
        let Value::Object(fields) = value else { return Err(vec![UpdatesError::NotAnObject]) };
        let mut errors = Vec::new();
        let mut updates = Self { enabled: None, rollout_percentage: None };
        let mut percentages = 0;
        for (key, value) in fields {
            if key == "enabled" {
                updates.enabled = value.as_bool();
                errors.extend(updates.enabled.is_none().then_some(UpdatesError::Enabled));
            } else if percentage_keys.contains(&key.as_str()) {
                percentages += 1;
                updates.rollout_percentage = percentage(value);
                errors
                    .extend(updates.rollout_percentage.is_none().then_some(UpdatesError::RolloutPercentage));
            } else {
                errors.push(UpdatesError::Unknown(key.clone()));
            }
        }
        if percentages > 1 {
            errors.push(UpdatesError::BothSpellings);
        }
        if fields.is_empty() {
            errors.push(UpdatesError::Empty);
        }
        if errors.is_empty() { Ok(updates) } else { Err(errors) }
    }
}

/// Stored `updates` or `expect`, which another tool may have written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum StoredUpdates {
    /// Shown in the current spelling.
    Readable(Updates),
    /// Shown as stored.
    Unreadable(Value),
}

impl From<Value> for StoredUpdates {
    fn from(stored: Value) -> Self {
        Updates::parse_stored(&stored).map_or(Self::Unreadable(stored), Self::Readable)
    }
}

impl StoredUpdates {
    /// Accepts any stored value: JSON nested too deeply to parse becomes a string of its own text.
    #[must_use]
    pub fn parse(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_else(|_| Value::from(json)).into()
    }
}

impl<'de> Deserialize<'de> for StoredUpdates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(Box::<RawValue>::deserialize(deserializer)?.get()))
    }
}

/// JSON has a single number type: `50` and `50.0` are the same integer.
fn percentage(value: &Value) -> Option<u8> {
    let number = value.as_f64()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an integer from 0 to 100")]
    (number.fract() == 0.0 && (0.0..=100.0).contains(&number)).then_some(number as u8)
}

/// A valid create request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSchedule {
    pub flag: FlagAddress,
    pub scheduled_at: Timestamp,
    /// Not applied after this time; later than `scheduled_at`.
    pub apply_by: Option<Timestamp>,
    pub updates: Updates,
    /// The state that the flag must have when the change comes up.
    pub expect: Option<Updates>,
    pub reason: Option<String>,
    pub idempotency_key: Option<IdempotencyKey>,
}

/// A valid cancel request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    pub flag: FlagAddress,
    pub id: ScheduleId,
    pub reason: Option<String>,
}

/// Makes retries of a create safe. Chosen by the caller: 1 to 128 printable ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        (printable && (1..=128).contains(&text.len())).then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// As stored. The admin columns are `None` in rows that predate them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Schedule {
    pub id: ScheduleId,
    pub flag_key: FlagKey,
    pub environment: Environment,
    pub scheduled_at: Timestamp,
    /// Not applied after this time.
    pub apply_by: Option<Timestamp>,
    pub status: StoredStatus,
    pub updates: StoredUpdates,
    /// `None` in outbox rows of a release that did not know it, too.
    #[serde(default)]
    pub expect: Option<StoredUpdates>,
    pub reason: Option<String>,
    /// `None` if the adopted table does not record it.
    pub created_at: Option<Timestamp>,
    pub created_by: Option<String>,
    pub cancelled_at: Option<Timestamp>,
    pub cancelled_by: Option<String>,
    pub cancel_reason: Option<String>,
    pub applied_at: Option<Timestamp>,
    pub failed_at: Option<Timestamp>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
}

impl Schedule {
    #[must_use]
    pub fn flag(&self) -> FlagAddress {
        FlagAddress { key: self.flag_key.clone(), environment: self.environment.clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn updates_have_one_or_both_fields() {
        let parse = |value: Value| Updates::parse(&value);

        assert_eq!(
            parse(json!({"enabled": true})),
            Ok(Updates { enabled: Some(true), rollout_percentage: None })
        );
        assert_eq!(
            parse(json!({"enabled": false, "rollout_percentage": 100.0})),
            Ok(Updates { enabled: Some(false), rollout_percentage: Some(100) })
        );
        assert_eq!(parse(json!({})), Err(vec![UpdatesError::Empty]));
        assert_eq!(parse(json!("on")), Err(vec![UpdatesError::NotAnObject]));
    }

    #[test]
    fn every_fault_of_updates_is_named() {
        let errors =
            Updates::parse(&json!({"enabled": null, "rollout_percentage": 101, "rollout": 5})).unwrap_err();

        assert_eq!(errors.len(), 3, "{errors:?}");
        let mut fields: Vec<_> = errors.iter().filter_map(UpdatesError::field).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["enabled", "rollout", "rollout_percentage"]);
    }

    #[test]
    fn percentages_are_integers_from_0_to_100() {
        for bad in [json!(-1), json!(101), json!(0.5), json!("50"), json!(null), json!(1e300), json!([50])] {
            let errors = Updates::parse(&json!({ "rollout_percentage": bad })).unwrap_err();
            assert_eq!(errors, vec![UpdatesError::RolloutPercentage], "for {bad}");
        }
    }

    #[test]
    fn only_stored_rows_may_use_the_old_spelling() {
        let old = json!({"rolloutPercentage": 30});

        assert_eq!(Updates::parse_stored(&old).unwrap().rollout_percentage, Some(30));
        assert_eq!(Updates::parse(&old), Err(vec![UpdatesError::Unknown("rolloutPercentage".to_owned())]));
        assert_eq!(
            Updates::parse_stored(&json!({"rolloutPercentage": 30, "rollout_percentage": 30})),
            Err(vec![UpdatesError::BothSpellings])
        );
        assert_eq!(
            Updates::parse_stored(&json!({"rolloutPercentage": 30, "colour": 1})),
            Err(vec![UpdatesError::Unknown("colour".to_owned())])
        );
    }

    #[test]
    fn a_row_is_shown_in_todays_spelling_unless_it_cannot_be_read() {
        let shown = |updates: &str| {
            let row = format!(
                r#"{{"id": "0197c2f0-6a5b-7c3d-8e4f-0123456789ab", "flag_key": "a", "environment": "b", "status": "failed",
                    "scheduled_at": "2026-02-09T09:00:00+00:00", "created_at": "2026-02-09T08:00:00.123456+00:00",
                    "updates": {updates}}}"#
            );
            serde_json::to_value(serde_json::from_str::<Schedule>(&row).unwrap().updates).unwrap()
        };
        let deep = "[".repeat(200) + &"]".repeat(200);

        assert_eq!(shown(r#"{"rolloutPercentage": 30.0}"#), json!({"rollout_percentage": 30}));
        assert_eq!(shown(r#"{"enabled": true}"#), json!({"enabled": true}));
        assert_eq!(
            shown(r#"{"rolloutPercentage": "many", "colour": null}"#),
            json!({"rolloutPercentage": "many", "colour": null})
        );
        assert_eq!(shown(&deep), Value::from(deep));
    }
}

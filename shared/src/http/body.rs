//! Parses create and cancel bodies, reporting every violation at once.

use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::input_error::InputError;
use crate::domain::flag::FlagAddress;
use crate::domain::schedule::{IdempotencyKey, MAX_DAYS_AHEAD, NewSchedule, REASON_MAX, Updates};
use crate::domain::text::check_prose;
use crate::domain::time::Timestamp;

pub const MAX_BODY_BYTES: usize = 16 * 1024;

const FIELDS: [&str; 5] = ["scheduled_at", "updates", "expect", "apply_by", "reason"];

/// Adds every error to `errors`. With `check_against`, a time that is not later, or too far ahead, is rejected early by
/// the function's clock; without it, only the database's clock decides.
pub(super) fn new_schedule(
    value: &Value,
    flag: Option<FlagAddress>,
    idempotency_key: Option<IdempotencyKey>,
    check_against: Option<Timestamp>,
    errors: &mut Vec<InputError>,
) -> Option<NewSchedule> {
    let Value::Object(fields) = value else {
        errors.push(InputError::in_body(&[], "must be an object with `scheduled_at` and `updates`"));
        return None;
    };
    errors.extend(unknown_fields(fields, &FIELDS));
    let scheduled_at = scheduled_at(fields, check_against, errors);
    let updates = updates(fields, errors);
    let expect = expect(fields, errors);
    let apply_by = apply_by(fields, scheduled_at, errors);
    let reason = reason(fields, errors);
    Some(NewSchedule {
        flag: flag?,
        scheduled_at: scheduled_at?,
        apply_by,
        updates: updates?,
        expect,
        reason,
        idempotency_key,
    })
}

/// Adds every error to `errors`.
pub(super) fn cancel_reason(value: &Value, errors: &mut Vec<InputError>) -> Option<String> {
    let Value::Object(fields) = value else {
        errors.push(InputError::in_body(&[], "must be an object, with `reason` or empty"));
        return None;
    };
    let before = errors.len();
    errors.extend(unknown_fields(fields, &["reason"]));
    reason(fields, errors).filter(|_| errors.len() == before)
}

fn unknown_fields(fields: &Map<String, Value>, known: &[&str]) -> Vec<InputError> {
    let unknown = fields.keys().filter(|key| !known.contains(&key.as_str()));
    let known = known.join("`, `");
    unknown
        .map(|key| InputError::in_body(&[key], format!("is not a known field; there are `{known}`")))
        .collect()
}

fn scheduled_at(
    fields: &Map<String, Value>,
    check_against: Option<Timestamp>,
    errors: &mut Vec<InputError>,
) -> Option<Timestamp> {
    let mut reject = |detail: String| errors.push(InputError::in_body(&["scheduled_at"], detail));
    let Some(value) = fields.get("scheduled_at") else {
        reject("is missing; give the time of the change, such as 2026-02-09T09:00:00Z".to_owned());
        return None;
    };
    let Some(time) = time(value) else {
        reject(NOT_A_TIME.to_owned());
        return None;
    };
    match check_against {
        Some(now) if time <= now => reject(format!("must be later than now ({now})")),
        Some(now) if time.since(now) > TimeDelta::days(MAX_DAYS_AHEAD) => {
            reject(format!("must be at most {MAX_DAYS_AHEAD} days ahead"));
        }
        _ => {}
    }
    Some(time)
}

fn updates(fields: &Map<String, Value>, errors: &mut Vec<InputError>) -> Option<Updates> {
    let Some(value) = fields.get("updates") else {
        let detail = "is missing; give `enabled` (boolean) and/or `rollout_percentage` (integer 0 to 100)";
        errors.push(InputError::in_body(&["updates"], detail));
        return None;
    };
    flag_values("updates", value, errors)
}

fn expect(fields: &Map<String, Value>, errors: &mut Vec<InputError>) -> Option<Updates> {
    let value = fields.get("expect").filter(|value| !value.is_null())?;
    flag_values("expect", value, errors)
}

fn flag_values(name: &str, value: &Value, errors: &mut Vec<InputError>) -> Option<Updates> {
    Updates::parse(value)
        .map_err(|found| {
            errors.extend(found.iter().map(|error| match error.field() {
                Some(field) => InputError::in_body(&[name, field], error.to_string()),
                None => InputError::in_body(&[name], error.to_string()),
            }));
        })
        .ok()
}

fn apply_by(
    fields: &Map<String, Value>,
    scheduled_at: Option<Timestamp>,
    errors: &mut Vec<InputError>,
) -> Option<Timestamp> {
    let value = fields.get("apply_by").filter(|value| !value.is_null())?;
    let time = time(value);
    match (time, scheduled_at) {
        (None, _) => errors.push(InputError::in_body(&["apply_by"], NOT_A_TIME)),
        (Some(apply_by), Some(scheduled_at)) if apply_by <= scheduled_at => {
            errors.push(InputError::in_body(&["apply_by"], "must be later than `scheduled_at`"));
        }
        (Some(_), _) => {}
    }
    time
}

fn reason(fields: &Map<String, Value>, errors: &mut Vec<InputError>) -> Option<String> {
    let value = fields.get("reason").filter(|value| !value.is_null())?;
    let Value::String(text) = value else {
        errors.push(InputError::in_body(&["reason"], "must be a string"));
        return None;
    };
    if let Err(error) = check_prose(text, REASON_MAX) {
        errors.push(InputError::in_body(&["reason"], error.to_string()));
    }
    Some(text.clone())
}

pub(super) const NOT_A_TIME: &str =
    "must be an RFC 3339 time with an offset, such as 2026-02-09T09:00:00Z, in the years 0001 to 9999 of UTC";

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(Timestamp::parse)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::input_error::Location;
    use super::*;
    use crate::domain::flag::{Environment, FlagKey};

    fn new_schedule(value: &Value, check_against: Option<Timestamp>) -> Result<NewSchedule, Vec<InputError>> {
        let flag = FlagAddress {
            key: FlagKey::parse("new-checkout".to_owned()).unwrap(),
            environment: Environment::default(),
        };
        let mut errors = Vec::new();
        let schedule = super::new_schedule(value, Some(flag), None, check_against, &mut errors);
        schedule.filter(|_| errors.is_empty()).ok_or(errors)
    }

    fn cancel_reason(value: &Value) -> Result<Option<String>, Vec<InputError>> {
        let mut errors = Vec::new();
        let reason = super::cancel_reason(value, &mut errors);
        if errors.is_empty() { Ok(reason) } else { Err(errors) }
    }

    fn now() -> Option<Timestamp> {
        Timestamp::parse("2026-02-09T09:00:00Z")
    }

    fn pointers(value: &Value) -> Vec<String> {
        let mut pointers: Vec<_> = new_schedule(value, now())
            .unwrap_err()
            .into_iter()
            .map(|error| match error.location {
                Location::Pointer(pointer) => pointer,
                place => panic!("not a pointer: {place:?}"),
            })
            .collect();
        pointers.sort();
        pointers
    }

    #[test]
    fn a_whole_body_is_read() {
        let schedule = new_schedule(
            &json!({
                "scheduled_at": "2026-02-09T11:00:00.1239+01:00",
                "apply_by": "2026-02-09T10:30:00Z",
                "updates": {"enabled": true},
                "reason": "launch\nday",
            }),
            now(),
        )
        .unwrap();

        assert_eq!(schedule.scheduled_at.to_string(), "2026-02-09T10:00:00.123Z");
        assert_eq!(schedule.apply_by.unwrap().to_string(), "2026-02-09T10:30:00.000Z");
        assert_eq!(schedule.reason.as_deref(), Some("launch\nday"));
    }

    #[test]
    fn null_is_the_same_as_nothing_where_a_field_is_optional() {
        let schedule = new_schedule(
            &json!({"scheduled_at": "2026-02-09T10:00:00Z", "updates": {"enabled": true}, "apply_by": null, "reason": null}),
            now(),
        );

        assert_eq!(schedule.map(|schedule| (schedule.apply_by, schedule.reason)), Ok((None, None)));
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let body = json!({
            "scheduled_at": "2026-02-09T08:59:59Z",
            "apply_by": "2026-02-09T08:00:00Z",
            "updates": {"rollout_percentage": 101, "colour": "red"},
            "reason": "x".repeat(501),
            "sheduled_at": 1,
        });

        assert_eq!(
            pointers(&body),
            [
                "/apply_by",
                "/reason",
                "/scheduled_at",
                "/sheduled_at",
                "/updates/colour",
                "/updates/rollout_percentage"
            ]
        );
    }

    #[test]
    fn what_is_required_is_named() {
        assert_eq!(pointers(&json!({})), ["/scheduled_at", "/updates"]);
        assert_eq!(pointers(&json!([])), [""]);
        assert_eq!(pointers(&json!({"scheduled_at": 1, "updates": {}})), ["/scheduled_at", "/updates"]);
    }

    #[test]
    fn the_far_future_is_refused() {
        let at = |time: &str| json!({"scheduled_at": time, "updates": {"enabled": true}});

        assert!(new_schedule(&at("2027-02-10T09:00:00Z"), now()).is_ok(), "366 days ahead are allowed");
        for far in ["2027-02-10T09:00:00.001Z", "9999-12-31T23:59:59Z"] {
            assert_eq!(pointers(&at(far)), ["/scheduled_at"], "{far}");
        }
    }

    #[test]
    fn a_cancel_may_have_a_reason_and_nothing_else() {
        for none in [json!({}), json!({"reason": null})] {
            assert_eq!(cancel_reason(&none), Ok(None), "{none}");
        }
        assert_eq!(cancel_reason(&json!({"reason": ""})), Ok(Some(String::new())));
        assert_eq!(cancel_reason(&json!({"reason": "a\nb"})), Ok(Some("a\nb".to_owned())));
        for (body, pointer) in [
            (json!(null), ""),
            (json!([]), ""),
            (json!("late"), ""),
            (json!({"reason": 1}), "/reason"),
            (json!({"reason": ["late"]}), "/reason"),
            (json!({"reason": "x".repeat(501)}), "/reason"),
            (json!({"reason": "a\0b"}), "/reason"),
            (json!({"Reason": "late"}), "/Reason"),
        ] {
            let errors = cancel_reason(&body).unwrap_err();
            assert_eq!(errors.len(), 1, "{body}: {errors:?}");
            assert_eq!(errors[0].location, Location::Pointer(pointer.to_owned()), "{body}");
        }
    }

    #[test]
    fn pointers_are_escaped() {
        let fault = InputError::in_body(&["updates", "a/b~c"], "");

        assert_eq!(fault.location, Location::Pointer("/updates/a~1b~0c".to_owned()));
    }
}

//! The bodies of a create and of a cancel, each checked against every rule at once.

use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::problem::InputFault;
use crate::domain::schedule::{MAX_DAYS_AHEAD, NewSchedule, REASON_MAX, Updates};
use crate::domain::text::check_prose;
use crate::domain::time::Timestamp;

const FIELDS: [&str; 4] = ["scheduled_at", "updates", "apply_by", "reason"];

/// Reads what an admin asks for. What is not after `not_before`, or too far after it, is refused here already, by the
/// function's clock; without it, that is left to the database, whose clock decides in any case.
///
/// # Errors
/// Every fault found.
pub fn new_schedule(value: &Value, not_before: Option<Timestamp>) -> Result<NewSchedule, Vec<InputFault>> {
    let Value::Object(fields) = value else {
        return Err(vec![InputFault::in_body(&[], "must be an object with `scheduled_at` and `updates`")]);
    };
    let mut faults = unknown_fields(fields, &FIELDS);
    let scheduled_at = scheduled_at(fields, not_before, &mut faults);
    let updates = updates(fields, &mut faults);
    let apply_by = apply_by(fields, scheduled_at, &mut faults);
    let reason = reason(fields, &mut faults);
    match (scheduled_at, updates) {
        (Some(scheduled_at), Some(updates)) if faults.is_empty() => {
            Ok(NewSchedule { scheduled_at, apply_by, updates, reason })
        }
        _ => Err(faults),
    }
}

/// Reads the reason for a cancel.
///
/// # Errors
/// Every fault found.
pub fn cancel_reason(value: &Value) -> Result<Option<String>, Vec<InputFault>> {
    let Value::Object(fields) = value else {
        return Err(vec![InputFault::in_body(&[], "must be an object, with `reason` or empty")]);
    };
    let mut faults = unknown_fields(fields, &["reason"]);
    let reason = reason(fields, &mut faults);
    if faults.is_empty() { Ok(reason) } else { Err(faults) }
}

fn unknown_fields(fields: &Map<String, Value>, known: &[&str]) -> Vec<InputFault> {
    let unknown = fields.keys().filter(|key| !known.contains(&key.as_str()));
    let known = known.join("`, `");
    unknown
        .map(|key| InputFault::in_body(&[key], format!("is not a known field; there are `{known}`")))
        .collect()
}

fn scheduled_at(
    fields: &Map<String, Value>,
    not_before: Option<Timestamp>,
    faults: &mut Vec<InputFault>,
) -> Option<Timestamp> {
    let mut refuse = |detail: String| faults.push(InputFault::in_body(&["scheduled_at"], detail));
    let Some(value) = fields.get("scheduled_at") else {
        refuse("is missing; give the time of the change, such as 2026-02-09T09:00:00Z".to_owned());
        return None;
    };
    let Some(time) = time(value) else {
        refuse(NOT_A_TIME.to_owned());
        return None;
    };
    match not_before {
        Some(now) if time <= now => refuse(format!("must be later than now ({now})")),
        Some(now) if time.since(now) > TimeDelta::days(MAX_DAYS_AHEAD) => {
            refuse(format!("must be at most {MAX_DAYS_AHEAD} days ahead"));
        }
        _ => {}
    }
    Some(time)
}

fn updates(fields: &Map<String, Value>, faults: &mut Vec<InputFault>) -> Option<Updates> {
    let Some(value) = fields.get("updates") else {
        let detail = "is missing; give `enabled` (boolean) and/or `rollout_percentage` (integer 0 to 100)";
        faults.push(InputFault::in_body(&["updates"], detail));
        return None;
    };
    Updates::parse(value)
        .map_err(|errors| {
            faults.extend(errors.iter().map(|error| match error.field() {
                Some(field) => InputFault::in_body(&["updates", field], error.to_string()),
                None => InputFault::in_body(&["updates"], error.to_string()),
            }));
        })
        .ok()
}

fn apply_by(
    fields: &Map<String, Value>,
    scheduled_at: Option<Timestamp>,
    faults: &mut Vec<InputFault>,
) -> Option<Timestamp> {
    let value = fields.get("apply_by").filter(|value| !value.is_null())?;
    let time = time(value);
    match (time, scheduled_at) {
        (None, _) => faults.push(InputFault::in_body(&["apply_by"], NOT_A_TIME)),
        (Some(apply_by), Some(scheduled_at)) if apply_by <= scheduled_at => {
            faults.push(InputFault::in_body(&["apply_by"], "must be later than `scheduled_at`"));
        }
        (Some(_), _) => {}
    }
    time
}

fn reason(fields: &Map<String, Value>, faults: &mut Vec<InputFault>) -> Option<String> {
    let value = fields.get("reason").filter(|value| !value.is_null())?;
    let Value::String(text) = value else {
        faults.push(InputFault::in_body(&["reason"], "must be a string"));
        return None;
    };
    if let Err(error) = check_prose(text, REASON_MAX) {
        faults.push(InputFault::in_body(&["reason"], error.to_string()));
    }
    Some(text.clone())
}

const NOT_A_TIME: &str =
    "must be an RFC 3339 time with an offset, such as 2026-02-09T09:00:00Z, in the years 0001 to 9999 of UTC";

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(Timestamp::parse)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::problem::Place;
    use super::*;

    fn now() -> Option<Timestamp> {
        Timestamp::parse("2026-02-09T09:00:00Z")
    }

    fn pointers(value: &Value) -> Vec<String> {
        let mut pointers: Vec<_> = new_schedule(value, now())
            .unwrap_err()
            .into_iter()
            .map(|fault| match fault.place {
                Place::Pointer(pointer) => pointer,
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
            let faults = cancel_reason(&body).unwrap_err();
            assert_eq!(faults.len(), 1, "{body}: {faults:?}");
            assert_eq!(faults[0].place, Place::Pointer(pointer.to_owned()), "{body}");
        }
    }

    #[test]
    fn pointers_are_escaped() {
        let fault = InputFault::in_body(&["updates", "a/b~c"], "");

        assert_eq!(fault.place, Place::Pointer("/updates/a~1b~0c".to_owned()));
    }
}

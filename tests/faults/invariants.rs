//! What must hold after any case: the invariants of the fault model, each as a function from what was observed to what
//! is wrong with it.
//!
//! - I1, I2: changes and events are the same;
//! - I3: every schedule has one end, and its flag is what its changes made of it;
//! - I4: an answer says what happened;
//! - I5, I6: nothing takes longer than it may, nothing is left behind;
//! - I7, I8: logs and events are clean;
//! - I9: a fault of one flag is of no other, and a tick that did nothing says why.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::time::Duration;

use harness::audit_events::assert_valid;
use harness::interceptor::Act;
use harness::lambda::{End, Outcome};
use harness::logs::SECRET_ACCESS_KEY;
use serde_json::{Value, json};

use super::case::{Case, Observed, Row};
use super::fault_kinds::{Fault, Level};
use super::lane::{Call, Lane};
use super::scenario::Scenario;

/// A handler must have answered by then.
const HANDLER: Duration = Duration::from_secs(8);
/// Delivery must be over so long after the answer.
const DELIVERY: Duration = Duration::from_secs(2);
/// With a healthy database an answer is there by then, whatever CloudWatch Logs does.
const HEALTHY: Duration = Duration::from_secs(2);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(1);
/// How often one event may be sent when its answers are late or lost.
const MOST_COPIES: usize = 3;
/// SQLSTATEs that say that the database cannot do it now: the caller is told to try again.
const UNAVAILABLE: [&str; 8] = ["08006", "25006", "3D000", "40001", "40P01", "53100", "55P03", "57014"];

/// All that is wrong with a case.
pub fn violations(case: &Case, seen: &Observed, lane: &Lane) -> Vec<String> {
    let checks: [fn(&Case, &Observed) -> Vec<String>; 7] =
        [changes_and_events, ends, answers, budgets, others, ticks, events_are_valid];
    let mut found: Vec<String> = checks.iter().flat_map(|check| check(case, seen)).collect();
    found.extend(logs_are_clean(seen, lane));
    found
}

/// The events that the rows call for: schedule and type.
fn expected(rows: &[Row]) -> BTreeSet<(String, String)> {
    let mut expected = BTreeSet::new();
    for row in rows {
        if row.created_by.is_some() {
            expected.insert((row.id.clone(), "flag_schedule.created".to_owned()));
        }
        if row.status != "pending" {
            expected.insert((row.id.clone(), format!("flag_schedule.{}", row.status)));
        }
    }
    expected
}

fn key(event: &Value) -> (String, String) {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    (text("schedule_id"), text("event_type"))
}

/// Whole events in the functions' logs, at ERROR.
fn logged(seen: &Observed) -> Vec<Value> {
    let lines = seen.lines.iter().filter(|line| line.contains("audit_event") && line.contains("ERROR"));
    lines.filter_map(|line| event_in(&serde_json::from_str(line).ok()?)).collect()
}

/// An `audit_event` anywhere in a log line, as JSON or as JSON in a string.
fn event_in(line: &Value) -> Option<Value> {
    let fields = line.as_object()?;
    let inside = |value: &Value| match value {
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Object(_) => Some(value.clone()),
        _ => None,
    };
    fields.get("audit_event").and_then(inside).or_else(|| fields.values().find_map(event_in))
}

fn changes_and_events(case: &Case, seen: &Observed) -> Vec<String> {
    let mut found = Vec::new();
    let expected = expected(&seen.rows);
    let mut copies: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for event in &seen.events {
        let id = event["event_id"].as_str().unwrap_or_default().to_owned();
        copies.entry(key(event)).or_default().push(id);
    }
    let logged: BTreeSet<_> = logged(seen).iter().map(key).collect();
    let outbox = case.all_faults().iter().any(Fault::may_be_outbox);
    for change in &expected {
        match copies.get(change) {
            None if outbox && logged.contains(change) => {}
            None => found.push(format!(
                "I1: {} of {} was committed, and its event is neither in CloudWatch Logs nor in a function's log at ERROR",
                change.1, change.0
            )),
            Some(ids) => {
                let distinct: BTreeSet<_> = ids.iter().collect();
                if distinct.len() > 1 {
                    found.push(format!("I1: {} of {} has several events: {distinct:?}", change.1, change.0));
                }
                if ids.len() > MOST_COPIES {
                    found.push(format!("I1: {} of {} was sent {} times", change.1, change.0, ids.len()));
                }
            }
        }
    }
    for change in copies.keys().filter(|change| !expected.contains(change)) {
        found.push(format!("I2: an event says {} of {}, which did not happen", change.1, change.0));
    }
    if seen.outbox != 0 {
        found.push(format!("I1: {} events are left in the outbox, undelivered or dead", seen.outbox));
    }
    found
}

fn ends(case: &Case, seen: &Observed) -> Vec<String> {
    let mut found = Vec::new();
    if !seen.recovered {
        found.push("I3: the faults are gone, and something is still due or undelivered".to_owned());
    }
    let triggered = case.faults.iter().any(|fault| matches!(fault, Fault::Trigger(..)));
    for row in &seen.rows {
        let may_fail = row.flag.ends_with("-c") || triggered;
        if row.status == "failed" && !may_fail {
            found.push(format!("I3: {} of {} failed with {:?}", row.id, row.flag, row.error_code));
        }
    }
    let mut told = seen.events.clone();
    told.extend(logged(seen));
    let mut flags: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in &seen.rows {
        flags.entry(&row.flag).or_default().push(row);
    }
    for (flag, rows) in flags {
        let mut state = json!({"enabled": false, "rollout_percentage": 0});
        for row in rows.iter().filter(|row| row.status == "applied") {
            let of_row = (row.id.clone(), "flag_schedule.applied".to_owned());
            let Some(event) = told.iter().find(|event| key(event) == of_row) else { continue };
            if event["change"]["before"] != state {
                found.push(format!(
                    "I3: {flag} was {state} before {}, but its event says {}",
                    row.id, event["change"]["before"]
                ));
            }
            state = event["change"]["after"].clone();
        }
        let is = json!({"enabled": rows[0].enabled, "rollout_percentage": rows[0].percentage});
        if is != state {
            found.push(format!("I3: {flag} is {is}, but its changes made {state} of it"));
        }
    }
    found
}

/// Status and body of an HTTP answer.
fn answer(call: &Call) -> Option<(u64, Value)> {
    let Outcome::Ok(answer) = &call.outcome else { return None };
    let body = answer["body"].as_str().and_then(|body| serde_json::from_str(body).ok());
    Some((answer["statusCode"].as_u64()?, body.unwrap_or_default()))
}

fn answers(case: &Case, seen: &Observed) -> Vec<String> {
    if case.scenario == Scenario::Verify {
        let wrong = |result: &Value| ["missing", "different"].iter().any(|list| result[list] != json!([]));
        return match &seen.first.outcome {
            Outcome::Ok(result) if wrong(result) => vec![format!("I1: the verification is wrong: {result}")],
            _ => Vec::new(),
        };
    }
    if case.scenario.is_tick() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let Some((status, body)) = answer(&seen.first) else {
        return vec![format!("I4: there is no answer: {:?}", seen.first.outcome)];
    };
    let codes: Vec<&str> = case.faults.iter().filter_map(Fault::code).collect();
    let is_bug = codes.iter().any(|code| !UNAVAILABLE.contains(code));
    let allowed = match status {
        200 | 201 | 503 => true,
        // The server refused it for a reason of its own, and the caller or the log is told which.
        422 | 500 => is_bug,
        _ => false,
    };
    if !allowed {
        found.push(format!("I4: answered with {status}: {body}"));
    }
    let did = |row: &Row| match case.scenario {
        Scenario::Cancel => row.status == "cancelled" && row.cancelled_by.is_some(),
        Scenario::Create => row.key.as_deref() == Some(&seen.name),
        _ => !seen.before.iter().any(|before| before.id == row.id),
    };
    let effects = seen.rows.iter().filter(|row| did(row)).count();
    let last = seen.retry.as_ref().and_then(answer).map_or((status, body), |last| last);
    match case.scenario {
        Scenario::Create | Scenario::Cancel | Scenario::CreateAgain => {
            let effects_wanted = if last.0 < 300 || last.0 == 409 { 1 } else { 0 };
            let keyless_retry = case.scenario == Scenario::CreateAgain && seen.retry.is_some();
            if effects != effects_wanted && !keyless_retry {
                found.push(format!(
                    "I4: {effects} effects, though the last answer was {}: {}",
                    last.0, last.1
                ));
            }
            if last.0 >= 500 {
                found.push(format!(
                    "I4: without any fault, the retry was answered with {}: {}",
                    last.0, last.1
                ));
            }
            if last.0 == 409 && (seen.retry.is_none() || last.1["schedule"]["status"] != "cancelled") {
                found.push(format!("I4: whoever cancelled it was answered with 409: {}", last.1));
            }
            if case.scenario == Scenario::Cancel && lost_once(case) && status != 200 {
                found.push(format!("I4: the cancel was lost on its way once, and answered with {status}"));
            }
        }
        Scenario::List | Scenario::ListAll if status == 200 => {
            let listed = last.1["schedules"].as_array().map_or(0, Vec::len);
            if listed < seen.before.len() {
                found.push(format!("I4: {listed} of {} schedules are listed", seen.before.len()));
            }
        }
        _ => {}
    }
    found
}

/// Whether nothing went wrong but one message on its way, and what the service can do without.
fn lost_once(case: &Case) -> bool {
    let (messages, rest): (Vec<_>, Vec<_>) =
        case.faults.iter().partition(|fault| matches!(fault, Fault::Message(..)));
    let lost = |fault: &&Fault| {
        matches!(fault, Fault::Message(_, Act::CutBefore | Act::CutDuring | Act::LoseAnswer | Act::Terminate))
    };
    messages.len() == 1
        && messages.iter().all(lost)
        && rest
            .iter()
            .all(|fault| fault.is_of_logs() || matches!(fault, Fault::OutboxMissing | Fault::OutboxRefused))
}

fn budgets(case: &Case, seen: &Observed) -> Vec<String> {
    let mut found = Vec::new();
    let recovery = seen.ticks.iter().map(|tick| &tick.call);
    for call in [&seen.first].into_iter().chain(&seen.retry).chain(recovery) {
        if matches!(call.outcome, Outcome::TimedOut) || call.end != Some(End::Idle) {
            found.push(format!("I6: a call ran out of its time, or its process ended: {call:?}"));
        }
    }
    if !(case.scenario.is_tick() || case.scenario == Scenario::Verify) {
        for call in [&seen.first].into_iter().chain(&seen.retry) {
            let delivery = call.done_after.saturating_sub(call.answered_after);
            if call.answered_after > HANDLER + SLACK || delivery > DELIVERY + SLACK {
                found.push(format!(
                    "I6: answered after {:?}, and then busy for {delivery:?}",
                    call.answered_after
                ));
            }
        }
        let healthy = case.all_faults().iter().all(Fault::is_of_logs);
        if healthy && seen.first.answered_after > HEALTHY {
            found.push(format!("I5: answered after {:?}", seen.first.answered_after));
        }
    }
    if !seen.busy.is_empty() {
        found.push(format!("I6: connections are left in a transaction: {:?}", seen.busy));
    }
    found
}

/// What is due of flags that no fault is aimed at is done by the tick that meets the fault.
fn others(case: &Case, seen: &Observed) -> Vec<String> {
    if case.scenario != Scenario::Tick
        || !case.faults.iter().all(|fault| fault.is_aimed() || fault.is_of_logs())
    {
        return Vec::new();
    }
    let left = seen.left.iter().filter(|row| row.due && row.status == "pending");
    let (aimed, others): (Vec<&Row>, Vec<&Row>) = left.partition(|row| row.flag.ends_with("-a"));
    let mut found = Vec::new();
    for row in others {
        found.push(format!(
            "I9: {} of {} was not done by the tick, though it is not concerned",
            row.id, row.flag
        ));
    }
    let trigger = |fault: &Fault| matches!(fault, Fault::Trigger(_, _, Level::Row, _));
    if let Some(row) =
        aimed.first().filter(|_| case.faults.iter().any(trigger) && !case.faults.iter().any(Fault::is_lock))
    {
        let names = |line: &&String| {
            line.contains(&row.flag_id) || line.contains(&row.id) || line.contains(&row.flag)
        };
        if !seen.lines.iter().any(|line| names(&line)) {
            found.push(format!("I9: {} was left pending, and no line names it", row.flag));
        }
    }
    found
}

/// A tick either does something, or has nothing to do, or fails by a name that says why.
fn ticks(case: &Case, seen: &Observed) -> Vec<String> {
    let mut found = Vec::new();
    let due = |row: &&Row| row.due && row.status == "pending";
    if case.scenario.is_tick() && seen.left.iter().any(|row| due(&row)) {
        found.extend(idle(&seen.first, "the tick that met the fault"));
    }
    for tick in &seen.ticks {
        // A commit that was held may come through just before it.
        if tick.due.iter().all(|due| *due > 0) {
            found.extend(idle(&tick.call, "a later tick"));
        }
    }
    for call in
        seen.ticks.iter().map(|tick| &tick.call).chain((case.scenario.is_tick()).then_some(&seen.first))
    {
        if let Outcome::FunctionError(error) = &call.outcome
            && (error.error_type.is_empty()
                || error.error_type.starts_with("Runtime.")
                || error.message.is_empty())
        {
            found.push(format!("I9: a tick failed without a name: {error}"));
        }
    }
    found
}

fn idle(call: &Call, which: &str) -> Option<String> {
    let Outcome::Ok(report) = &call.outcome else { return None };
    let ended =
        report.as_object()?.iter().filter(|(name, _)| *name == "applied" || name.starts_with("failed"));
    let ended: u64 = ended.filter_map(|(_, count)| count.as_u64()).sum();
    (ended == 0).then(|| format!("I9: {which} reports success, did nothing, and something is due: {report}"))
}

fn events_are_valid(_: &Case, seen: &Observed) -> Vec<String> {
    let logged = logged(seen);
    let faults = seen.events.iter().chain(&logged).filter_map(|event| {
        let panic = catch_unwind(|| assert_valid(event)).err()?;
        Some(format!("I8: {}", panic.downcast_ref::<String>().cloned().unwrap_or_default()))
    });
    faults.collect()
}

fn logs_are_clean(seen: &Observed, lane: &Lane) -> Vec<String> {
    let url = lane.api.database.url();
    let password = url.split(['@', ':']).nth(2).unwrap_or_default().to_owned();
    let secrets = [password.as_str(), SECRET_ACCESS_KEY, lane.token.as_str()];
    let mut found = Vec::new();
    for line in &seen.lines {
        if secrets.iter().any(|secret| line.contains(secret)) {
            found.push(format!("I7: a secret is in a log line: {line}"));
        }
        if !serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()) {
            found.push(format!("I8: a log line is not JSON: {line}"));
        }
    }
    found
}

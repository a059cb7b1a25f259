//! Holds the real thing against the model: flags, schedules, and the audit trail, wherever its events are.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::play::key;
use super::reference::{End, Model, Schedule, State};
use super::world::World;

/// What an event says, in short; the same for a row of the outbox and for what arrived in the log.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    schedule: String,
    event_type: String,
    change: Value,
    state: Value,
    code: Value,
}

/// All differences.
pub async fn differences(world: &World, model: &Model) -> Vec<String> {
    let mut found = Vec::new();
    compare("flags", &real_flags(world).await, &expected_flags(model), &mut found);
    compare("schedules", &real_schedules(world).await, &expected_schedules(model), &mut found);
    let events = events(world, &mut found).await;
    compare_events(&events, model, &mut found);
    found
}

async fn real_flags(world: &World) -> BTreeMap<String, State> {
    let sql = "select flag_key, enabled, rollout_percentage::bigint from feature_flags";
    let rows = world.client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

fn expected_flags(model: &Model) -> BTreeMap<String, State> {
    let flags = model.flags.iter().enumerate().filter(|(_, flag)| !flag.deleted);
    flags.map(|(index, flag)| (key(index), flag.state)).collect()
}

async fn real_schedules(world: &World) -> BTreeMap<String, (String, Option<String>)> {
    let sql = "select id, status, error_code from feature_flag_schedules";
    let rows = world.client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get::<_, Uuid>(0).to_string(), (row.get(1), row.get(2)))).collect()
}

fn expected_schedules(model: &Model) -> BTreeMap<String, (String, Option<String>)> {
    let schedules = model.schedules.iter().filter(|schedule| !model.flags[schedule.flag].deleted);
    schedules
        .map(|schedule| {
            let (status, code) = match &schedule.end {
                None => ("pending", None),
                Some(End::Applied(..)) => ("applied", None),
                Some(End::Cancelled) => ("cancelled", None),
                Some(End::Failed(code, _)) => ("failed", Some((*code).to_owned())),
            };
            (schedule.id.to_string(), (status.to_owned(), code))
        })
        .collect()
}

/// What stands in the outbox and what arrived in the log, by event id: copies are allowed, if they say the same.
async fn events(world: &World, found: &mut Vec<String>) -> BTreeMap<String, Event> {
    let sql =
        "select event_id, event_type, context -> 'change', schedule ->> 'id', schedule ->> 'error_code',
            context -> 'state'
        from audit_outbox";
    let rows = world.client.query(sql, &[]).await.unwrap();
    let waiting = rows.iter().map(|row| {
        let event = Event {
            schedule: row.get(3),
            event_type: row.get(1),
            change: row.get::<_, Option<Value>>(2).unwrap_or_default(),
            state: row.get::<_, Option<Value>>(5).unwrap_or_default(),
            code: json!(row.get::<_, Option<String>>(4)),
        };
        (row.get::<_, Uuid>(0).to_string(), event)
    });
    let arrived = world.log.events().into_iter().map(|event| {
        harness::audit_events::assert_valid(&event);
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let short = Event {
            schedule: text("schedule_id"),
            event_type: text("event_type"),
            change: event["change"].clone(),
            state: event["state"].clone(),
            code: event["error"]["code"].clone(),
        };
        (text("event_id"), short)
    });
    let mut events = BTreeMap::new();
    for (id, event) in waiting.chain(arrived) {
        if let Some(earlier) = events.insert(id.clone(), event.clone())
            && earlier != event
        {
            found.push(format!("two copies of event {id} differ: {earlier:?} and {event:?}"));
        }
    }
    events
}

/// Each creation by the service and each end has one event, and there is no other.
fn compare_events(events: &BTreeMap<String, Event>, model: &Model, found: &mut Vec<String>) {
    let mut told: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events.values() {
        told.entry(&event.schedule).or_default().push(event);
    }
    for (index, schedule) in model.schedules.iter().enumerate() {
        let id = schedule.id.to_string();
        let mut told = told.remove(id.as_str()).unwrap_or_default();
        told.sort_by_key(|event| event.event_type != "flag_schedule.created");
        let created = schedule.by_service.then(|| created(&id));
        let expected: Vec<Event> = created.clone().into_iter().chain(ended(schedule)).collect();
        let fits = told.iter().copied().eq(expected.iter());
        let may_be_without = model.flags[schedule.flag].uncertain.contains(&index);
        let fits_without = may_be_without && told.iter().copied().eq(created.iter());
        if !fits && !fits_without {
            found.push(format!("schedule {index}: the events {told:?} should be {expected:?}"));
        }
    }
    for (id, events) in told {
        found.push(format!("events of a schedule {id} that there is not: {events:?}"));
    }
    // Of a flag that was deleted during ticks, no later change is told where an earlier one is not.
    for flag in &model.flags {
        let is_told = |index: &usize| {
            let id = model.schedules[*index].id.to_string();
            events.values().any(|event| event.schedule == id && event.event_type != "flag_schedule.created")
        };
        if !flag.uncertain.is_sorted_by_key(|index| !is_told(index)) {
            found.push("a change of a deleted flag was applied before an earlier one".to_owned());
        }
    }
}

fn created(id: &str) -> Event {
    Event {
        schedule: id.to_owned(),
        event_type: "flag_schedule.created".to_owned(),
        change: Value::Null,
        state: Value::Null,
        code: Value::Null,
    }
}

fn ended(schedule: &Schedule) -> Option<Event> {
    let state = |(enabled, percentage): State| json!({"enabled": enabled, "rollout_percentage": percentage});
    let (became, change, found, code) = match schedule.end.as_ref()? {
        End::Applied(before, after) => {
            let change = json!({"before": state(*before), "after": state(*after)});
            ("applied", change, Value::Null, Value::Null)
        }
        End::Failed(code, found) => ("failed", Value::Null, state(*found), json!(code)),
        End::Cancelled => ("cancelled", Value::Null, Value::Null, Value::Null),
    };
    let event_type = format!("flag_schedule.{became}");
    Some(Event { schedule: schedule.id.to_string(), event_type, change, state: found, code })
}

fn compare<T: PartialEq + std::fmt::Debug>(
    what: &str,
    real: &BTreeMap<String, T>,
    expected: &BTreeMap<String, T>,
    found: &mut Vec<String>,
) {
    let keys = real.keys().chain(expected.keys().filter(|key| !real.contains_key(*key)));
    for key in keys.filter(|key| real.get(*key) != expected.get(*key)) {
        found.push(format!("{what}: {key} is {:?} and should be {:?}", real.get(key), expected.get(key)));
    }
}

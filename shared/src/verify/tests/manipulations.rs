//! What somebody may do to the trail or to the database, and what must be reported.

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::report::{Different, EventFacts, Findings, Missing, Reason, Unknown};
use super::history::{Delivery, HOUR_MS, Story, event, row, story};
use super::memory::Memory;
use super::{honest, start, verify};
use crate::domain::audit_event::{EventId, EventType};
use crate::domain::schedule::{Schedule, Status, StoredStatus};
use crate::domain::time::Timestamp;

/// Where an event is changed, to what, and the fields that are reported.
type Alteration = (&'static str, fn() -> Value, &'static [&'static str]);

const ALTERATIONS: [Alteration; 17] = [
    ("/occurred_at", || json!("2026-02-01T00:00:00.001Z"), &["occurred_at"]),
    ("/flag_key", || json!("other"), &["flag_key"]),
    ("/environment", || json!("other"), &["environment"]),
    ("/level", || json!("DEBUG"), &["level"]),
    ("/schema_version", || json!("1"), &["schema_version"]),
    ("/event_id", || json!(Uuid::new_v4()), &["event_id"]),
    ("/actor", || json!({"type": "admin", "user_id": "x", "email": null}), &["actor"]),
    ("/actor", || json!(null), &["actor"]),
    ("/request", || json!({"request_id": ""}), &["request"]),
    ("/schedule/reason", || json!("another reason"), &["schedule.reason"]),
    ("/schedule/updates", || json!({"rollout_percentage": 99}), &["schedule.updates"]),
    ("/schedule/expect", || json!({"rollout_percentage": 99}), &["schedule.expect"]),
    ("/state", || json!("on"), &["state"]),
    ("/schedule/created_by", || json!("x"), &["schedule.created_by"]),
    ("/schedule/created_at", || json!(null), &["schedule.created_at"]),
    ("/schedule/apply_by", || json!("2030-01-01T00:00:00.000Z"), &["schedule.apply_by"]),
    ("/schedule", || json!("gone"), &["schedule"]),
];

#[derive(Debug, Clone)]
enum Manipulation {
    RemoveEvent,
    /// Of a schedule that never was.
    ForgeEvent,
    /// The same once more, under another id.
    SecondEvent,
    /// A copy with another request.
    ForgedCopy,
    AlterEvent(usize),
    Garbage(&'static str),
    AlterRow(usize),
    DeleteRow,
    /// By the owner of the database.
    ForgeCancellation,
    /// The owner sets an ended schedule back to pending, and the processor applies it.
    Replay,
}

fn manipulation() -> impl Strategy<Value = Manipulation> {
    use Manipulation as M;
    let garbage =
        ["", "{}", "null", "not JSON", "{\"event_type\": \"flag_schedule.created\"}", "{\"a\":1,\"a\":1}"];
    prop_oneof![
        Just(M::RemoveEvent),
        Just(M::ForgeEvent),
        Just(M::SecondEvent),
        Just(M::ForgedCopy),
        (0..ALTERATIONS.len()).prop_map(M::AlterEvent),
        (0..garbage.len()).prop_map(move |index| M::Garbage(garbage[index])),
        (0..ROW_ALTERATIONS.len()).prop_map(M::AlterRow),
        Just(M::DeleteRow),
        Just(M::ForgeCancellation),
        Just(M::Replay),
    ]
}

type RowAlteration = (fn(&mut Schedule), fn(EventType) -> Vec<&'static str>);

/// Changes to rows, and the fields that are reported for each event.
const ROW_ALTERATIONS: [RowAlteration; 10] = [
    (|row| row.reason = Some("another reason".to_owned()), |_| vec!["schedule.reason"]),
    (
        |row| row.updates = json!({"rollout_percentage": 99}).into(),
        |event_type| match event_type {
            EventType::Applied => vec!["change", "schedule.updates"],
            _ => vec!["schedule.updates"],
        },
    ),
    (|row| row.expect = Some(json!({"rollout_percentage": 99}).into()), |_| vec!["schedule.expect"]),
    (
        |row| row.created_by = Some("x".to_owned()),
        |event_type| match event_type {
            EventType::Created => vec!["actor.user_id", "schedule.created_by"],
            _ => vec!["schedule.created_by"],
        },
    ),
    (
        |row| row.cancelled_by = Some("x".to_owned()),
        |event_type| if event_type == EventType::Cancelled { vec!["actor.user_id"] } else { vec![] },
    ),
    (
        |row| row.cancel_reason = Some("x".to_owned()),
        |event_type| if event_type == EventType::Cancelled { vec!["cancel_reason"] } else { vec![] },
    ),
    (
        |row| row.error_code = Some("x".to_owned()),
        |event_type| if event_type == EventType::Failed { vec!["error.code"] } else { vec![] },
    ),
    (
        |row| row.scheduled_at = row.scheduled_at.plus_millis(-1),
        |event_type| match event_type {
            EventType::Applied | EventType::Failed => vec!["lateness_ms", "schedule.scheduled_at"],
            EventType::Created | EventType::Cancelled => vec!["schedule.scheduled_at"],
        },
    ),
    (
        |row| row.applied_at = row.applied_at.map(|at| at.plus_millis(3 * HOUR_MS)),
        |event_type| {
            if event_type == EventType::Applied { vec!["lateness_ms", "occurred_at"] } else { vec![] }
        },
    ),
    (
        |row| row.status = StoredStatus::Foreign(None),
        |event_type| if event_type == EventType::Created { vec![] } else { vec!["event_type"] },
    ),
];

/// What is there in the end, and what must be found.
#[derive(Default)]
struct World {
    memory: Memory,
    expected: Findings,
}

impl World {
    fn at(event: &Value) -> Timestamp {
        Timestamp::parse(event["occurred_at"].as_str().unwrap()).unwrap()
    }

    fn store(&mut self, event: &Value) {
        self.memory.log.push((Self::at(event), event.to_string()));
    }

    fn expect_unknown(&mut self, event: &Value, reason: Reason) {
        let text = |name: &str| event[name].as_str().map(str::to_owned);
        self.expected.add_unknown(Unknown {
            schedule_id: text("schedule_id"),
            event_type: text("event_type"),
            event_id: text("event_id"),
            facts: facts(event),
            reason,
        });
    }

    fn expect_different(&mut self, event: &Value, row: &Schedule, fields: &[&str]) {
        let status = serde_json::to_value(&row.status).unwrap();
        self.expected.add_different(Different {
            schedule_id: serde_json::from_value(event["schedule_id"].clone()).unwrap(),
            event_type: serde_json::from_value(event["event_type"].clone()).unwrap(),
            event_id: serde_json::from_value(event["event_id"].clone()).unwrap(),
            facts: facts(event),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            row_status: status.as_str().map(str::to_owned),
        });
    }

    fn expect_missing(&mut self, row: &Schedule, event_type: EventType, occurred_at: Timestamp) {
        self.expected.add_missing(Missing {
            schedule_id: row.id,
            event_type,
            occurred_at,
            flag_key: row.flag_key.clone(),
            environment: row.environment.clone(),
        });
    }

    fn do_it(&mut self, index: usize, story: &Story, manipulation: &Manipulation) {
        let mut row = row(index, story, start());
        let types: Vec<EventType> = [Some(EventType::Created), story.end].into_iter().flatten().collect();
        let events: Vec<Value> =
            types.iter().map(|it| serde_json::to_value(event(&row, *it)).unwrap()).collect();
        // Which of its events it is about.
        let at = index % events.len();
        let mut kept = events.clone();
        match manipulation {
            Manipulation::RemoveEvent => {
                kept.remove(at);
                self.expect_missing(&row, types[at], Self::at(&events[at]));
            }
            Manipulation::ForgeEvent => {
                let mut forged = events[at].clone();
                forged["schedule_id"] = json!(Uuid::now_v7());
                self.expect_unknown(&forged, Reason::NoSchedule);
                kept.push(forged);
            }
            Manipulation::SecondEvent => {
                // The log is read backwards here, so the one that came first is the second.
                let mut second = events[at].clone();
                second["event_id"] = json!(EventId::new().0);
                self.expect_unknown(&events[at], Reason::SecondEvent);
                kept.push(second);
            }
            Manipulation::ForgedCopy => {
                let mut copy = events[at].clone();
                copy["request"]["request_id"] = json!("another");
                self.expect_unknown(&events[at], Reason::SecondEvent);
                kept.push(copy);
            }
            Manipulation::AlterEvent(which) => {
                let (pointer, value, fields) = ALTERATIONS[*which];
                let (parent, member) = pointer.rsplit_once('/').unwrap();
                kept[at].pointer_mut(parent).unwrap()[member] = value();
                let mut fields: Vec<&str> = fields.to_vec();
                match fields[..] {
                    ["actor"] => fields = actor_fields(types[at], &kept[at]["actor"]),
                    ["schedule"] => {
                        fields = vec![
                            "schedule",
                            "schedule.apply_by",
                            "schedule.created_at",
                            "schedule.created_by",
                            "schedule.expect",
                            "schedule.reason",
                            "schedule.scheduled_at",
                            "schedule.updates",
                        ]
                    }
                    _ => {}
                }
                let altered = kept[at].clone();
                // The log's own timestamp is as it was.
                kept.remove(at);
                self.memory.log.push((Self::at(&events[at]), altered.to_string()));
                if altered != events[at] {
                    self.expect_different(&altered, &row, &fields);
                }
            }
            Manipulation::Garbage(text) => {
                // Twice the same is one finding.
                let text = format!("{text}{}", " ".repeat(index));
                self.expected.add_unknown(Unknown::unreadable(&text));
                self.memory
                    .log
                    .extend([(Self::at(&events[at]), text.clone()), (Self::at(&events[at]), text)]);
                self.expected.duplicates += 1;
            }
            Manipulation::AlterRow(which) => {
                let (alter, fields) = ROW_ALTERATIONS[*which];
                alter(&mut row);
                for (event, event_type) in events.iter().zip(&types) {
                    let fields = fields(*event_type);
                    if !fields.is_empty() {
                        self.expect_different(event, &row, &fields);
                    }
                }
            }
            Manipulation::DeleteRow => {
                events.iter().for_each(|event| self.expect_unknown(event, Reason::NoSchedule));
                kept.iter().for_each(|event| self.store(event));
                return;
            }
            Manipulation::ForgeCancellation => {
                let cancelled_at = start().plus_millis(HOUR_MS);
                row.status = StoredStatus::Known(Status::Cancelled);
                (row.cancelled_at, row.cancelled_by) = (Some(cancelled_at), Some("ben".to_owned()));
                match story.end {
                    Some(EventType::Cancelled) => {
                        let mut fields = vec!["actor.user_id"];
                        if World::at(&events[1]) != cancelled_at {
                            fields.push("occurred_at");
                        }
                        self.expect_different(&events[1], &row, &fields);
                    }
                    Some(_) => {
                        self.expect_different(&events[1], &row, &["event_type"]);
                        self.expect_missing(&row, EventType::Cancelled, cancelled_at);
                    }
                    None => self.expect_missing(&row, EventType::Cancelled, cancelled_at),
                }
            }
            Manipulation::Replay => {
                let replayed = start().plus_millis(24 * HOUR_MS);
                row.status = StoredStatus::Known(Status::Applied);
                row.applied_at = Some(replayed);
                kept.push(serde_json::to_value(event(&row, EventType::Applied)).unwrap());
                match story.end {
                    Some(EventType::Applied) => {
                        self.expect_different(&events[1], &row, &["lateness_ms", "occurred_at"]);
                    }
                    Some(_) => self.expect_different(&events[1], &row, &["event_type"]),
                    None => {}
                }
            }
        }
        kept.iter().for_each(|event| self.store(event));
        self.memory.rows.push(row);
    }
}

fn facts(event: &Value) -> EventFacts {
    let text = |name: &str| event[name].as_str().map(str::to_owned);
    EventFacts {
        occurred_at: text("occurred_at"),
        flag_key: text("flag_key"),
        environment: text("environment"),
    }
}

/// What is reported of an event whose actor was replaced.
fn actor_fields(event_type: EventType, actor: &Value) -> Vec<&'static str> {
    let by_admin = matches!(event_type, EventType::Created | EventType::Cancelled);
    match (by_admin, actor.is_null()) {
        (true, false) => vec!["actor.user_id"],
        (true, true) => vec!["actor", "actor.email", "actor.type", "actor.user_id"],
        (false, false) => vec!["actor.email", "actor.name", "actor.type", "actor.user_id"],
        (false, true) => vec!["actor", "actor.name", "actor.type"],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_manipulation_is_reported_and_nothing_else(
        honest_ones in proptest::collection::vec(story(), 0..20),
        manipulated in proptest::collection::vec((story(), manipulation()), 1..10),
    ) {
        let honest_ones: Vec<Story> =
            honest_ones.into_iter().map(|story| Story { delivery: [Delivery::Once; 2], ..story }).collect();
        let mut world = World { memory: honest(&honest_ones), ..World::default() };
        for (index, (story, manipulation)) in manipulated.iter().enumerate() {
            world.do_it(honest_ones.len() + index, story, manipulation);
        }
        let World { memory, mut expected } = world;

        let mut findings = verify(memory).findings;

        for found in [&mut findings, &mut expected] {
            found.missing.sort();
            found.unknown.sort();
            found.different.sort();
        }
        prop_assert_eq!(&findings.missing, &expected.missing);
        prop_assert_eq!(&findings.unknown, &expected.unknown);
        prop_assert_eq!(&findings.different, &expected.different);
        prop_assert_eq!(findings.duplicates, expected.duplicates);
    }
}

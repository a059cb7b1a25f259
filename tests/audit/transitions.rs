//! One event for every transition, enforced: the database itself keeps count of transitions, and every statement that
//! makes one is known.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::api::Api;
use serde_json::{Value, json};
use uuid::Uuid;

use super::witness;
use crate::support::{in_seconds, text, turn_on, with_updates};

/// Makes the database refuse one state of a flag.
const GUARD: &str = "
    create function guard() returns trigger language plpgsql as $$
    begin
        if new.rollout_percentage = 66 then raise exception 'not 66'; end if;
        return new;
    end $$;
    create trigger guard before update on feature_flags for each row execute function guard();";

/// Goes through every transition there is: created, cancelled, applied, and failed in each of its three ways; with
/// refused attempts in between, which must leave nothing.
async fn walk(api: &Api) {
    let token = api.admin();
    let client = api.database.connect().await;
    let due = |answer: &harness::gateway::Response| text(&answer.json, "id").to_owned();

    let cancelled = api.create(&token, "a", "", &turn_on()).await;
    assert_eq!(api.cancel(&token, "a", &due(&cancelled), "").await.status, 200);
    assert_eq!(api.cancel(&token, "a", &due(&cancelled), "").await.status, 409);
    assert_eq!(api.create(&token, "unknown", "", &turn_on()).await.status, 404);
    assert_eq!(api.create(&token, "a", "", &json!({})).await.status, 400);

    let applied = api.create(&token, "a", "", &turn_on()).await;
    let rejected = api.create(&token, "b", "", &with_updates(&json!({"rollout_percentage": 66}))).await;
    let body =
        json!({"scheduled_at": in_seconds(60), "apply_by": in_seconds(120), "updates": {"enabled": true}});
    let expired = api.create(&token, "a", "", &body).await;
    let invalid = api.create(&token, "a", "", &turn_on()).await;
    let mut body = turn_on();
    body["expect"] = json!({"rollout_percentage": 99});
    let unexpected = api.create(&token, "a", "", &body).await;
    for answer in [&applied, &rejected, &expired, &invalid, &unexpected] {
        api.make_due(&due(answer), Duration::from_secs(3600)).await;
    }
    let id = |answer| due(answer).parse::<Uuid>().unwrap();
    let sql = "update feature_flag_schedules set apply_by = now() - interval '1 minute' where id = $1";
    client.execute(sql, &[&id(&expired)]).await.unwrap();
    let sql = r#"update feature_flag_schedules set updates = '"on"' where id = $1"#;
    client.execute(sql, &[&id(&invalid)]).await.unwrap();

    let report = api.tick().await.value();
    let failed = [
        "failed_invalid_updates",
        "failed_expired",
        "failed_unexpected_state",
        "failed_rejected_by_database",
    ];
    assert_eq!(report["applied"], 1, "{report:#}");
    assert_eq!(failed.map(|code| report[code].as_u64()), [Some(1); 4], "{report:#}");
    assert_eq!(api.cancel(&token, "a", &due(&applied), "").await.status, 409);
    api.tick().await.value();
}

#[tokio::test]
async fn every_transition_that_the_database_sees_has_one_event_and_no_event_is_without_one() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    api.flag("b", "production").await;
    api.database.connect().await.batch_execute(GUARD).await.unwrap();
    witness::start(&api).await;

    walk(&api).await;

    assert_eq!(witness::compare(&api).await, 12, "six schedules, each with a beginning and an end");
}

#[tokio::test]
async fn without_the_outbox_every_transition_has_its_event_all_the_same() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    api.flag("b", "production").await;
    let client = api.database.connect().await;
    client.batch_execute(GUARD).await.unwrap();
    client.batch_execute("drop table audit_outbox").await.unwrap();
    witness::start(&api).await;

    walk(&api).await;

    assert_eq!(witness::compare(&api).await, 12, "six schedules, each with a beginning and an end");
}

/// The statements that write schedules. A new one must be added here with the transition it makes, and to the walk above.
const WRITERS: [(&str, &str); 3] = [
    ("create_schedule.sql", "'flag_schedule.created'"),
    ("cancel_schedule.sql", "'flag_schedule.cancelled'"),
    ("record_outcomes.sql", "'flag_schedule.' || ended.status"),
];

#[test]
fn every_statement_that_writes_schedules_writes_their_events() {
    let folder = harness::settings::workspace().join("shared/src/adapters/postgres/sql");
    let mut writers = BTreeSet::new();
    for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let sql = std::fs::read_to_string(&file).unwrap();
        let writes = |verb: &str| sql.contains(&format!("{verb} feature_flag_schedules"));
        if !(writes("insert into") || writes("update") || writes("delete from")) {
            continue;
        }
        let event = WRITERS.iter().find(|(writer, _)| *writer == name);
        let (_, event) = event.unwrap_or_else(|| panic!("{name} writes schedules and is not in WRITERS"));
        assert!(sql.contains("insert into audit_outbox"), "{name} changes schedules without an audit event");
        assert!(sql.contains(event), "{name} should write the event {event}");
        writers.insert(name);
    }
    assert_eq!(writers, WRITERS.iter().map(|(name, _)| (*name).to_owned()).collect());
}

#[test]
fn the_schema_knows_the_same_types_of_events_as_the_code() {
    let file = harness::settings::workspace().join("docs/audit-event.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let documented = schema.to_string();

    for event_type in flag_schedules::domain::audit_event::EventType::ALL {
        let name = format!("\"{}\"", event_type.as_str());
        assert!(documented.contains(&name), "the schema does not know {name}");
    }
}

//! A witness in the database: it keeps count of every transition, whoever makes it, and is then held against the trail.

use std::collections::{BTreeMap, BTreeSet};

use harness::api::Api;
use uuid::Uuid;

use crate::support::text;

const WITNESS: &str = "
    create table witness (schedule_id uuid, became text);
    create function witness() returns trigger language plpgsql as $$
    begin
        if tg_op = 'INSERT' then
            insert into witness values (new.id, 'created');
        elsif new.status is distinct from old.status then
            insert into witness values (new.id, new.status);
        end if;
        return new;
    end $$;
    create trigger witness after insert or update on feature_flag_schedules
        for each row execute function witness();";

/// From now on, every transition is counted.
pub async fn start(api: &Api) {
    api.database.connect().await.batch_execute(WITNESS).await.unwrap();
}

/// Holds the trail against what the database saw (invariants I1, I2 and I3 of the fault list): each transition has one
/// event, though perhaps several copies of it with one id; there is no other event; no schedule has two ends. Gives the
/// number of transitions.
pub async fn compare(api: &Api) -> usize {
    let mut said = BTreeMap::new();
    for event in api.events().await {
        let became = text(&event, "event_type").trim_start_matches("flag_schedule.").to_owned();
        said.insert(text(&event, "event_id").to_owned(), (text(&event, "schedule_id").to_owned(), became));
    }
    let rows =
        api.database.connect().await.query("select schedule_id, became from witness", &[]).await.unwrap();
    let seen: Vec<(String, String)> =
        rows.iter().map(|row| (row.get::<_, Uuid>(0).to_string(), row.get(1))).collect();

    let ends: Vec<_> = seen.iter().filter(|(_, became)| became != "created").map(|(id, _)| id).collect();
    let ended: BTreeSet<_> = ends.iter().collect();
    assert_eq!(ends.len(), ended.len(), "a schedule has two ends: {seen:#?}");

    let told: BTreeSet<_> = said.values().collect();
    let happened: BTreeSet<_> = seen.iter().collect();
    let untold: Vec<_> = happened.difference(&told).collect();
    let made_up: Vec<_> = told.difference(&happened).collect();
    assert!(untold.is_empty(), "committed, but without an event: {untold:#?}");
    assert!(made_up.is_empty(), "events without a committed change: {made_up:#?}");
    assert_eq!(said.len(), seen.len(), "each transition has one event id");
    seen.len()
}

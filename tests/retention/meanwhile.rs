//! While the service works: ticks and callers of the same flags notice nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::api::{Api, create_request};
use serde_json::json;
use uuid::Uuid;

use super::{batches, count, delete_ended, ended, retained};
use crate::roles::service;
use crate::support::{of_type, text, turn_on, with_updates};

const FLAGS: i64 = 8;
const OLD: i64 = FLAGS * 2 * 600;

/// Due at once, ten of each flag.
const DUE: &str = "insert into feature_flag_schedules (flag_id, scheduled_at, updates, created_by)
    select f.id, now() - make_interval(secs => n), '{\"enabled\": true}', 'alice' from feature_flags f, generate_series(1, 10) n";

/// Creates, lists and cancels until it is over; the longest that a call took.
async fn callers(api: &Api, old: &[Uuid], over: &AtomicBool) -> Duration {
    let (token, mut longest) = (api.admin(), Duration::ZERO);
    for (n, old) in old.iter().cycle().enumerate() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let flag = format!("flag-{}", 1 + n as i64 % FLAGS);
        let started = Instant::now();
        let created = api.create(&token, &flag, "", &turn_on()).await;
        let listed = api.list(&token, &flag, "status=cancelled").await;
        let cancelled = api.cancel(&token, &flag, text(&created.json, "id"), "").await;
        // It is there and has ended, or is gone, or is that of another flag.
        let late = api.cancel(&token, &flag, &old.to_string(), "").await;
        longest = longest.max(started.elapsed() / 4);
        assert_eq!((created.status, listed.status, cancelled.status), (201, 200, 200), "{cancelled:?}");
        assert!([404, 409].contains(&late.status), "{late:?}");
    }
    longest
}

/// Ticks until it is over, with ten schedules of each flag due each time; how many were applied.
async fn ticks(api: &Api, over: &AtomicBool) -> (u64, u64) {
    let client = api.database.connect_as_superuser().await;
    let (mut due, mut applied) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        due += client.execute(DUE, &[]).await.unwrap();
        let report = api.tick().await.value();
        assert_eq!((&report["flags_left"], &report["interrupted"]), (&json!(0), &json!(false)), "{report:#}");
        assert_eq!((&report["flags_locked"], &report["still_due"]), (&json!(0), &json!(0)), "{report:#}");
        applied += report["applied"].as_u64().unwrap();
    }
    (due, applied)
}

#[tokio::test]
async fn ticks_and_callers_of_the_same_flags_go_on_and_just_the_old_schedules_are_gone() {
    let api = service(retained().await).await;
    let superuser = api.database.connect_as_superuser().await;
    for n in 1..=FLAGS {
        api.flag(&format!("flag-{n}"), "production").await;
        ended(&superuser, &format!("flag-{n}"), 600, &[200, 500]).await;
        ended(&superuser, &format!("flag-{n}"), 20, &[1, 89]).await;
    }
    let ids = "select id from feature_flag_schedules where scheduled_at < now() - interval '90 days'";
    let old: Vec<Uuid> = superuser.query(ids, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(old.len() as i64, OLD);
    let kept = "select id from feature_flag_schedules where scheduled_at >= now() - interval '90 days'";
    let kept: BTreeSet<Uuid> =
        superuser.query(kept, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    // Each function has started before it is measured.
    api.create(&api.admin(), "flag-1", "", &turn_on()).await;
    api.tick().await.value();

    let over = AtomicBool::new(false);
    let deleting = async {
        let mut deleted = Vec::new();
        // Two at once, which share the work, with pauses like those between the runs of a scheduler.
        while count(&superuser, "scheduled_at < now() - interval '90 days'").await > 0 {
            let run = || delete_ended(&api.database, &["older_than=90 days", "batch_size=25", "batches=40"]);
            let (one, other) = tokio::join!(run(), run());
            deleted.extend(batches(&one).into_iter().chain(batches(&other)));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        over.store(true, Ordering::Relaxed);
        deleted
    };
    let (deleted, longest, (due, applied)) =
        tokio::join!(deleting, callers(&api, &old, &over), ticks(&api, &over));

    assert_eq!(deleted.iter().sum::<i64>(), OLD);
    assert_eq!(applied, due);
    assert!(longest < Duration::from_secs(1), "a call took {longest:?}");
    let left = superuser.query("select id from feature_flag_schedules", &[]).await.unwrap();
    let left: BTreeSet<Uuid> = left.iter().map(|row| row.get(0)).collect();
    assert!(kept.is_subset(&left));
    assert!(old.iter().all(|id| !left.contains(id)));
    assert_eq!(of_type(&api.events().await, "flag_schedule.applied").len() as u64, applied);
}

#[tokio::test]
async fn a_deleted_schedule_is_not_found_and_its_idempotency_key_is_free_again() {
    let api = service(retained().await).await;
    api.flag("a", "production").await;
    let token = api.admin();
    let body = with_updates(&json!({"enabled": true}));
    let request = create_request("a", "", &body).bearer(&token).header("idempotency-key", "k");
    let first = api.send(&request).await;
    let id = text(&first.json, "id").to_owned();
    let ended = api.cancel(&token, "a", &id, "").await;
    api.settle().await;
    let replayed = api.send(&request).await;
    let superuser = api.database.connect_as_superuser().await;
    let age = "update feature_flag_schedules set cancelled_at = cancelled_at - interval '31 days'";
    superuser.batch_execute(age).await.unwrap();

    assert_eq!(batches(&delete_ended(&api.database, &["older_than=30 days"]).await), [1]);

    let found = api.find(&token, "a", &id, "").await;
    let cancelled = api.cancel(&token, "a", &id, "").await;
    let again = api.send(&request).await;
    assert_eq!((first.status, ended.status, replayed.status), (201, 200, 200), "{replayed:?}");
    assert_eq!((found.status, cancelled.status, again.status), (404, 404, 201), "{again:?}");
}

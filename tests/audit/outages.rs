//! Audit trouble: the operation succeeds all the same, and its event arrives.

use harness::api::Api;
use harness::cloudwatch::{CloudWatch, Fault};

use super::trail::age_outbox;
use crate::support::{A_MOMENT, only, text, turn_on};

/// An address where nobody listens.
const NOBODY: &str = "http://127.0.0.1:9";

async fn outbox_count(api: &Api) -> i64 {
    api.database.connect().await.query_one("select count(*) from audit_outbox", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn with_cloudwatch_down_a_create_succeeds_and_a_later_tick_delivers() {
    let api = Api::with().env("create-schedule", "AWS_ENDPOINT_URL", Some(NOBODY)).start().await;
    api.flag("new-checkout", "production").await;

    let created = api.create(&api.admin(), "new-checkout", "", &turn_on()).await;
    api.settle().await;

    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(api.events().await.len(), 0);
    assert_eq!(outbox_count(&api).await, 1);

    age_outbox(&api).await;
    let report = api.tick().await.value();

    assert_eq!(report["audit_delivered"], 1, "{report:#}");
    assert_eq!(report["audit_backlog"], 0, "{report:#}");
    let events = api.events().await;
    assert_eq!(only(&events, "flag_schedule.created")["schedule_id"], text(&created.json, "id"));
    assert_eq!(outbox_count(&api).await, 0);
}

#[tokio::test]
async fn with_cloudwatch_down_a_tick_applies_and_a_later_one_delivers_both_events() {
    let api = Api::with().env_everywhere("AWS_ENDPOINT_URL", Some(NOBODY)).start().await;
    api.flag("new-checkout", "production").await;
    let created = api.create(&api.admin(), "new-checkout", "", &turn_on()).await;
    api.make_due(text(&created.json, "id"), A_MOMENT).await;

    let down = api.tick().await.value();

    assert_eq!(down["applied"], 1, "{down:#}");
    assert_eq!(down["audit_backlog"], 2, "{down:#}");
    assert_eq!(api.flag_state("new-checkout", "production").await, (true, 0));

    age_outbox(&api).await;
    let healthy = harness::lambda::Launch::of("schedule-processor")
        .env(api.env("schedule-processor").set("AWS_ENDPOINT_URL", api.group.logs().endpoint()))
        .start()
        .await
        .unwrap();
    let up = healthy.invoke(&harness::api::tick_event()).await.value();

    assert_eq!(up["audit_delivered"], 2, "{up:#}");
    let events = api.events().await;
    only(&events, "flag_schedule.created");
    only(&events, "flag_schedule.applied");
}

#[tokio::test]
async fn with_the_outbox_renamed_and_cloudwatch_down_events_arrive_with_a_later_invocation() {
    let cloudwatch = CloudWatch::start().await;
    let api = Api::with().cloudwatch(&cloudwatch).start().await;
    api.flag("new-checkout", "production").await;
    let client = api.database.connect().await;
    client.batch_execute("alter table audit_outbox rename to elsewhere").await.unwrap();
    cloudwatch.next(1, Fault::StoreThenCut);
    cloudwatch.from_now_on(Fault::DENY);
    for _ in 0..3 {
        api.create(&api.admin(), "new-checkout", "", &turn_on()).await;
    }
    api.settle().await;

    cloudwatch.heal();
    api.create(&api.admin(), "new-checkout", "", &turn_on()).await;
    api.settle().await;

    let events = cloudwatch.events();
    let ids: std::collections::BTreeSet<&str> = events.iter().map(|event| text(event, "event_id")).collect();
    assert_eq!((events.len(), ids.len()), (5, 4), "one may have been stored, and was");
}

#[tokio::test]
async fn with_insert_on_the_outbox_revoked_while_the_functions_run_nothing_is_lost() {
    let api = Api::start().await;
    api.flag("new-checkout", "production").await;
    let before = api.create(&api.admin(), "new-checkout", "", &turn_on()).await;
    api.settle().await;
    let client = api.database.connect().await;
    client.batch_execute("revoke insert on audit_outbox from current_user").await.unwrap();

    let during = api.create(&api.admin(), "new-checkout", "", &turn_on()).await;
    let cancelled = api.cancel(&api.admin(), "new-checkout", text(&before.json, "id"), "").await;
    api.make_due(text(&during.json, "id"), A_MOMENT).await;
    let report = api.tick().await.value();

    assert_eq!((during.status, cancelled.status), (201, 200));
    assert_eq!(report["applied"], 1, "{report:#}");
    assert_eq!(api.events().await.len(), 4);
}

#[tokio::test]
async fn a_refused_extension_leaves_the_delivery_to_the_sweep() {
    let api = Api::with().launch("create-schedule", |launch| launch.refuse_extensions(403)).start().await;
    api.flag("new-checkout", "production").await;

    let created = api.create(&api.admin(), "new-checkout", "", &turn_on()).await;
    api.settle().await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(outbox_count(&api).await, 1);

    age_outbox(&api).await;
    api.tick().await.value();

    only(&api.events().await, "flag_schedule.created");
}

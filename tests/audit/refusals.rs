//! Events that CloudWatch Logs does not want: it is asked once more, and what it never takes is kept, told, and in
//! nobody's way.

use harness::api::Api;
use harness::cloudwatch::limits::{MAX_BYTES, Rejected};
use harness::cloudwatch::{CloudWatch, Fault};
use serde_json::{Value, json};
use uuid::Uuid;

use super::trail::{self, assert_exact, copies, create, dead, ids, run, sweep, waiting};
use crate::support::{LIMIT, in_seconds, only, text, turn_on};

/// The first event of a batch is refused for its time.
const FIRST: Fault = Fault::Reject(Rejected { too_old_end: Some(1), expired_end: None, too_new_start: None });

/// Creates while CloudWatch Logs is down; gives the ids of their events in order.
async fn backlog(cloudwatch: &CloudWatch, api: &Api, count: usize) -> Vec<Uuid> {
    cloudwatch.from_now_on(Fault::UNAVAILABLE);
    for _ in 0..count {
        create(api).await;
    }
    api.settle().await;
    cloudwatch.heal();
    let waiting = waiting(api).await;
    assert_eq!(waiting.len(), count);
    waiting
}

/// The event that a function's log holds whole, at ERROR.
async fn logged_whole(api: &Api, function: &str, id: Uuid) -> Value {
    let whole = |line: &str| line.contains("audit_event") && line.contains(&id.to_string());
    let line = api.function(function).await.wait_for_log(whole, LIMIT).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "ERROR", "{line:#}");
    let event: Value = serde_json::from_str(text(&line, "audit_event")).unwrap();
    harness::audit_events::assert_valid(&event);
    event
}

#[tokio::test]
async fn an_event_too_old_for_cloudwatch_is_sent_again_with_the_time_of_sending_and_says_when_it_occurred() {
    let (cloudwatch, api) = trail::start().await;
    let events = backlog(&cloudwatch, &api, 3).await;
    let long_ago = in_seconds(-15 * 24 * 60 * 60);
    trail::alter(&api, events[1], &json!({ "created_at": long_ago })).await;
    let before = harness::clock::now().timestamp_millis();

    let report = sweep(&api).await;

    assert_eq!(report["audit_delivered"], 3, "{report:#}");
    let stored = assert_exact(&cloudwatch, &api).await;
    assert_eq!(copies(&stored).len(), 3);
    let at = ids(&stored).iter().position(|id| *id == events[1]).unwrap();
    assert_eq!(stored[at]["occurred_at"], long_ago);
    assert!(cloudwatch.stored()[at].timestamp >= before, "{:?}", cloudwatch.stored()[at]);
}

#[tokio::test]
async fn expired_and_too_new_events_are_sent_again_too_and_only_they() {
    let (cloudwatch, api) = trail::start().await;
    let events = backlog(&cloudwatch, &api, 3).await;
    let rejected = Rejected { too_old_end: None, expired_end: Some(1), too_new_start: Some(2) };
    cloudwatch.next(1, Fault::Reject(rejected));

    let report = sweep(&api).await;

    assert_eq!(report["audit_delivered"], 3, "{report:#}");
    assert_eq!(ids(&assert_exact(&cloudwatch, &api).await), [events[1], events[0], events[2]]);
}

#[tokio::test]
async fn an_event_refused_for_its_time_keeps_that_in_mind_when_the_second_attempt_fails() {
    let (cloudwatch, api) = trail::start().await;
    let events = backlog(&cloudwatch, &api, 2).await;
    cloudwatch.next(1, FIRST);
    cloudwatch.from_now_on(Fault::UNAVAILABLE);

    let report = sweep(&api).await;
    assert_eq!(report["audit_delivered"], 1, "{report:#}");
    assert_eq!(waiting(&api).await, [events[0]]);

    cloudwatch.heal();
    let before = harness::clock::now().timestamp_millis();
    sweep(&api).await;

    let stored = assert_exact(&cloudwatch, &api).await;
    assert_eq!(ids(&stored), [events[1], events[0]]);
    assert!(cloudwatch.stored()[1].timestamp >= before, "the time of sending at once");
}

#[tokio::test]
async fn an_event_refused_twice_is_dead_with_a_reason_and_logged_whole_and_the_others_arrive() {
    let (cloudwatch, api) = trail::start().await;
    let events = backlog(&cloudwatch, &api, 3).await;
    cloudwatch.next(2, FIRST);

    let report = sweep(&api).await;

    assert_eq!(report["audit_delivered"], 2, "{report:#}");
    assert_eq!(report["audit_backlog"], 0, "{report:#}");
    assert_eq!(report["audit_dead"], 1, "{report:#}");
    let metric = |line: &str| line.contains("_aws") && line.contains(r#""AuditEventsDead":1"#);
    api.function("schedule-processor").await.wait_for_log(metric, LIMIT).await;
    let [(id, reason)] = &dead(&api).await[..] else { panic!("one is dead") };
    assert_eq!(*id, events[0]);
    assert!(reason.contains("time of sending"), "{reason}");
    assert_eq!(logged_whole(&api, "schedule-processor", *id).await["event_id"], id.to_string());
    assert_eq!(ids(&assert_exact(&cloudwatch, &api).await), events[1..]);

    let report = sweep(&api).await;
    assert_eq!(report["audit_delivered"], 0, "the dead are not sent again: {report:#}");
    assert_eq!(cloudwatch.stored().len(), 2);
}

#[tokio::test]
async fn when_cloudwatchs_clock_is_two_weeks_ahead_no_event_is_dead_and_all_arrive_once_it_is_right() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.stop_clock(harness::clock::now() + chrono::TimeDelta::days(15));
    for _ in 0..3 {
        create(&api).await;
    }

    let report = sweep(&api).await;

    assert_eq!((&report["audit_backlog"], &report["audit_dead"]), (&json!(3), &json!(0)), "{report:#}");
    cloudwatch.stop_clock(harness::clock::now());
    let report = sweep(&api).await;
    assert_eq!(report["audit_delivered"], 3, "{report:#}");
    assert_exact(&cloudwatch, &api).await;
}

#[tokio::test]
async fn a_log_that_calls_everything_invalid_kills_no_event() {
    for error_type in ["InvalidParameterException", "SerializationException", "ValidationException"] {
        for count in [1, 700] {
            let (cloudwatch, api) = trail::start().await;
            cloudwatch.from_now_on(Fault::Refuse(400, error_type));
            create(&api).await;
            api.settle().await;
            trail::multiply(&api, count - 1).await;

            let report = sweep(&api).await;

            let left = (&report["audit_backlog"], &report["audit_dead"]);
            assert_eq!(left, (&json!(count), &json!(0)), "{error_type}: {report:#}");
            assert!(cloudwatch.puts().len() < 100, "{} calls", cloudwatch.puts().len());
            cloudwatch.heal();
            let report = sweep(&api).await;
            assert_eq!(report["audit_delivered"], count, "{error_type}: {report:#}");
            assert_exact(&cloudwatch, &api).await;
        }
    }
}

#[tokio::test]
async fn rejected_indexes_that_contradict_each_other_lose_no_event_and_kill_none_alone() {
    let rejections = [(Some(9_999), None, Some(0)), (Some(1), Some(2), Some(1)), (None, None, Some(7))];
    for (too_old_end, expired_end, too_new_start) in rejections {
        let (cloudwatch, api) = trail::start().await;
        backlog(&cloudwatch, &api, 3).await;
        cloudwatch.next(1, Fault::Reject(Rejected { too_old_end, expired_end, too_new_start }));

        let report = sweep(&api).await;

        assert_eq!((&report["audit_delivered"], &report["audit_dead"]), (&json!(3), &json!(0)), "{report:#}");
        assert_exact(&cloudwatch, &api).await;
    }
}

#[tokio::test]
async fn one_poison_event_in_500_is_found_and_dead_and_499_are_delivered_once() {
    let (cloudwatch, api) = trail::start().await;
    backlog(&cloudwatch, &api, 1).await;
    trail::multiply(&api, 499).await;
    let poisoned = waiting(&api).await[321];
    trail::alter(&api, poisoned, &json!({ "reason": "poison" })).await;
    cloudwatch.from_now_on(Fault::Poison("poison"));

    let report = sweep(&api).await;

    assert_eq!(report["audit_delivered"], 499, "{report:#}");
    assert_eq!(report["audit_backlog"], 0, "{report:#}");
    let [(id, reason)] = &dead(&api).await[..] else { panic!("one is dead") };
    assert_eq!(*id, poisoned);
    assert!(reason.contains("InvalidParameterException"), "{reason}");
    assert_eq!(logged_whole(&api, "schedule-processor", poisoned).await["schedule"]["reason"], "poison");
    let events = assert_exact(&cloudwatch, &api).await;
    assert!(copies(&events).into_values().all(|copies| copies == 1));
    assert!(cloudwatch.puts().len() < 30, "bisected, not tried one by one");
}

#[tokio::test]
async fn an_event_of_more_than_a_megabyte_is_dead_and_logged_whole_and_never_sent() {
    let (cloudwatch, api) = trail::start().await;
    let huge = "x".repeat(MAX_BYTES);
    let events = backlog(&cloudwatch, &api, 2).await;
    trail::alter(&api, events[0], &json!({ "reason": huge })).await;

    let report = sweep(&api).await;

    assert_eq!((&report["audit_delivered"], &report["audit_dead"]), (&json!(1), &json!(1)), "{report:#}");
    let [(id, reason)] = &dead(&api).await[..] else { panic!("one is dead") };
    assert!(reason.contains("larger than"), "{reason}");
    assert_eq!(*id, events[0]);
    let event = logged_whole(&api, "schedule-processor", *id).await;
    assert_eq!(event["schedule"]["reason"], huge);
    let stored = cloudwatch.stored();
    assert!(stored.len() == 1 && stored[0].message.contains(&events[1].to_string()), "{stored:?}");
}

#[tokio::test]
async fn whatever_was_typed_an_event_is_one_json_object_and_says_just_that() {
    let (cloudwatch, api) = trail::start().await;
    let reasons = [
        "first line\nsecond line\r\nthird\u{85}\u{2028}\u{2029}",
        "\u{1b}[2J\u{1b}[31mred\u{1b}[0m\u{7}\u{8}\u{7f}",
        r#"{"event_type":"flag_schedule.applied"}"#,
        r#"", "level": "ERROR", "x": ""#,
        "\\\\ \\n \\u0000 \\",
        "\u{202e}esrever\u{202c} \u{200f}\u{2066}isolated\u{2069} \u{feff}",
        "ünïcödé 日本語 👩‍👩‍👧‍👦 \u{10ffff}",
        "' or 1=1; drop table audit_outbox; -- %s ${jndi:ldap://x} {{7*7}} <script>",
        "\t\u{1}\u{1f}",
        "",
    ];
    let flags =
        [r#"{"flag":"key"}"#, "\u{202e}yek\u{202c}", r#"a"b\c/d?e=f&g#h"#, "日本語 👩‍👩‍👧‍👦", "' or 1=1; --"];
    let token = api.admin();
    for flag in flags {
        api.flag(flag, "production").await;
    }

    for (reason, flag) in reasons.into_iter().zip(flags.into_iter().cycle()) {
        let mut body = turn_on();
        body["reason"] = json!(reason);
        let created = api.create(&token, flag, "", &body).await;
        assert_eq!(created.status, 201, "{reason:?} {flag:?} {created:?}");
        let id = text(&created.json, "id");
        let encoded: String = reason.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let cancelled = api.cancel(&token, flag, id, &format!("reason={encoded}")).await;
        assert_eq!(cancelled.status, 200, "{reason:?} {flag:?} {cancelled:?}");

        api.settle().await;
        // One JSON object on one line each, or they could not be read.
        let events: Vec<Value> =
            cloudwatch.events().into_iter().filter(|event| event["schedule_id"] == id).collect();
        for event_type in ["flag_schedule.created", "flag_schedule.cancelled"] {
            let event = only(&events, event_type);
            assert_eq!(event["schedule"]["reason"], reason);
            assert_eq!(event["flag_key"], flag);
        }
        assert_eq!(only(&events, "flag_schedule.cancelled")["cancel_reason"], reason);
    }
    assert_eq!(assert_exact(&cloudwatch, &api).await.len(), reasons.len() * 2);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_dead_and_logged_in_full_and_the_others_arrive() {
    for broken in [
        "context = jsonb_build_object('odd', 'kept for you')",
        "context = jsonb_build_object('odd', 'kept for you', 'actor', 1e400::numeric)",
        "schedule = jsonb_build_array('kept for you')",
        "schedule = (schedule - 'created_at') || jsonb_build_object('odd', 'kept for you')",
        "schedule = schedule || jsonb_build_object('scheduled_at', 'kept for you')",
        "event_type = 'flag_schedule.applied', schedule = schedule || jsonb_build_object('reason', 'kept for you')",
        "schedule = (repeat('[', 500) || '\"kept for you\"' || repeat(']', 500))::jsonb",
    ] {
        let (cloudwatch, api) = trail::start().await;
        let events = backlog(&cloudwatch, &api, 3).await;
        run(&api, "create table before as select event_id, event_type, context, schedule from audit_outbox")
            .await;
        run(&api, &format!("update audit_outbox set {broken} where event_id = '{}'", events[1])).await;

        let report = sweep(&api).await;

        assert_eq!(report["audit_delivered"], 2, "{broken}: {report:#}");
        let [(id, reason)] = &dead(&api).await[..] else { panic!("{broken}: one is dead") };
        assert_eq!(*id, events[1]);
        assert!(!reason.is_empty());
        let told = |line: &str| {
            line.contains("ERROR") && line.contains(&id.to_string()) && line.contains("kept for you")
        };
        api.function("schedule-processor").await.wait_for_log(told, LIMIT).await;
        let restore =
            "update audit_outbox o set event_type = b.event_type, context = b.context, schedule = b.schedule
            from before b where b.event_id = o.event_id";
        run(&api, restore).await;
        assert_eq!(ids(&assert_exact(&cloudwatch, &api).await), [events[0], events[2]]);
    }
}

#[tokio::test]
async fn events_of_a_type_that_this_release_does_not_know_are_kept_and_block_nothing() {
    let (cloudwatch, api) = trail::start().await;
    backlog(&cloudwatch, &api, 1).await;
    trail::multiply(&api, 2_500).await;
    let events = waiting(&api).await;
    // The oldest, more than one hold, as a later release has written them before it was rolled back.
    let unknown = "update audit_outbox set event_type = 'flag_schedule.paused' where event_id in
         (select event_id from audit_outbox order by written_at, event_id limit 2000)";
    run(&api, unknown).await;

    let report = sweep(&api).await;

    assert_eq!(report["audit_delivered"], 501, "{report:#}");
    assert_eq!((&report["audit_backlog"], &report["audit_dead"]), (&json!(2_000), &json!(0)), "{report:#}");
    assert_eq!(waiting(&api).await, events[..2_000]);
    run(&api, "update audit_outbox set event_type = 'flag_schedule.created'").await;
    let report = sweep(&api).await;
    assert_eq!(report["audit_delivered"], 2_000, "{report:#}");
    assert_exact(&cloudwatch, &api).await;
}

//! The contract to be read in the diff: one answer of each kind, whole.
//!
//! Ids and times are replaced; everything else is compared. A difference fails the test and writes nothing; to accept
//! it, run `INSTA_UPDATE=always make test T=snapshots` and read the diff.

use harness::api::{Api, list_request};
use harness::gateway::Response;
use serde_json::json;
use uuid::Uuid;

use super::{FLAG, api_with_flag};
use crate::support::{in_seconds, text, turn_on};

/// Compares an answer with the file of this name in `snapshots/`.
#[track_caller]
fn assert_snapshot(name: &str, response: &Response) {
    let mut lines = vec![format!("HTTP {}", response.status)];
    lines.extend(response.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    let mut body = response.json.clone();
    if body["next_cursor"].is_string() {
        body["next_cursor"] = json!("[cursor]");
    }
    lines.push(format!("\n{body:#}"));
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(name, redacted(&lines.join("\n")));
    });
}

/// The text with `[id]` for every UUID and `[time]` for every time of the form that answers have.
fn redacted(text: &str) -> String {
    const ID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    const TIME: &str = "0000-00-00T00:00:00.000Z";
    let mut redacted = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (shown, length) = match () {
            () if has_form(rest, ID) => ("[id]", ID.len()),
            () if has_form(rest, TIME) => ("[time]", TIME.len()),
            () => (&rest[..first.len_utf8()], first.len_utf8()),
        };
        redacted.push_str(shown);
        rest = &rest[length..];
    }
    redacted
}

/// Whether `text` begins in this form: `x` is a hexadecimal digit, `0` a digit, all else itself.
fn has_form(text: &str, form: &str) -> bool {
    text.len() >= form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, form)| match form {
            b'x' => byte.is_ascii_hexdigit(),
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

#[test]
fn ids_and_times_are_replaced_and_nothing_else() {
    let text = "a 0197c2f0-6a5b-7c3d-8e4f-0123456789ab/é 2026-02-09T09:00:00.000Z, 2026-02-09T09:00:00Z 12";

    assert_eq!(redacted(text), "a [id]/é [time], 2026-02-09T09:00:00Z 12");
}

#[tokio::test]
async fn snapshots_of_success() {
    let (api, _) = api_with_flag().await;
    let body = json!({
        "scheduled_at": in_seconds(3600),
        "apply_by": in_seconds(7200),
        "updates": {"enabled": true, "rollout_percentage": 25},
        "expect": {"enabled": false},
        "reason": "Launch of the new checkout",
    });

    let created = api.create(&api.admin(), FLAG, "", &body).await;
    let postponed = api.create(&api.admin(), FLAG, "", &turn_on()).await;
    let cancelled = api.cancel(&api.admin(), FLAG, text(&postponed.json, "id"), "reason=Postponed").await;
    let page = api.list(&api.admin(), FLAG, "limit=1").await;
    let conflict = api.cancel(&api.admin(), FLAG, text(&postponed.json, "id"), "").await;

    assert_snapshot("201_created", &created);
    assert_snapshot("200_cancelled", &cancelled);
    assert_snapshot("200_page", &page);
    assert_snapshot("409_not_pending", &conflict);
    let found = api.find(&api.admin(), FLAG, text(&postponed.json, "id"), "").await;
    let across_flags = api.list_across_flags(&api.admin(), "status=cancelled&order=desc").await;
    assert_snapshot("200_found", &found);
    assert_snapshot("200_page_across_flags", &across_flags);
}

#[tokio::test]
async fn snapshots_of_refusals() {
    let (api, _) = api_with_flag().await;
    let faulty = json!({
        "scheduled_at": "tomorrow",
        "updates": {"enabled": "yes", "rollout_percentage": 101},
        "resaon": "a typing mistake",
    });

    let several = api.create(&api.admin(), FLAG, "environment=&dry_run=1", &faulty).await;
    let not_json = harness::api::create_request(FLAG, "", &turn_on()).body("{");
    let not_json = api.send(&not_json.bearer(&api.admin())).await;
    let no_token = api.send(&list_request(FLAG, "")).await;
    let bad_token = api.list("garbage", FLAG, "").await;
    let forbidden = api.list(&api.token().groups(&["staff"]).sign(), FLAG, "").await;
    let no_flag = api.list(&api.admin(), "nowhere", "").await;
    let no_schedule = api.cancel(&api.admin(), FLAG, &Uuid::new_v4().to_string(), "").await;

    assert_snapshot("400_several_faults", &several);
    assert_snapshot("400_not_json", &not_json);
    assert_snapshot("401_no_token", &no_token);
    assert_snapshot("401_bad_token", &bad_token);
    assert_snapshot("403_no_admin", &forbidden);
    assert_snapshot("404_no_flag", &no_flag);
    assert_snapshot("404_no_schedule", &no_schedule);
}

#[tokio::test]
async fn snapshots_of_faults() {
    let nowhere = "postgres://service:secret@127.0.0.1:1/flags";
    let api = Api::with().env_everywhere("DATABASE_URL", Some(nowhere)).start().await;

    let unavailable = api.list(&api.admin(), FLAG, "").await;

    assert_snapshot("503_no_database", &unavailable);
}

//! Internal extensions register and get their events in the stand-in as in the RIE.

use serde_json::{Value, json};

use super::Both;

/// What the extension has seen after two invocations: its registration, then its events.
async fn seen(event: &str) -> (Value, Value) {
    let both = Both::start(&[("PROBE_EXTENSION", event)]).await;
    both.invoke(&json!({"do": "event"})).await;
    // The event of this invocation may or may not be there yet.
    let (ours, theirs) = both.invoke(&json!({"do": "extension"})).await;
    (ours.result(), theirs.result())
}

/// The names of an object's members.
fn names(value: &Value) -> Vec<&String> {
    value.as_object().unwrap().keys().collect()
}

#[tokio::test]
async fn an_extension_that_registers_for_invocations_is_told_of_each() {
    let (ours, theirs) = seen("INVOKE").await;

    for registration in [&ours[0], &theirs[0]] {
        assert_eq!(registration["status"], 200);
        assert_eq!(registration["body"]["functionName"], "probe");
        assert_eq!(registration["body"]["functionVersion"], "$LATEST");
    }
    assert_eq!(names(&ours[0]["body"]), names(&theirs[0]["body"]));
    let mut event = ours[1].clone();
    // As with the header: the RIE traces nothing.
    event.as_object_mut().unwrap().remove("tracing").expect("Lambda traces every invocation");
    assert_eq!(names(&event), names(&theirs[1]));
    assert_eq!((&event["eventType"], &theirs[1]["eventType"]), (&json!("INVOKE"), &json!("INVOKE")));
    assert!(event["deadlineMs"].is_u64() && theirs[1]["deadlineMs"].is_u64());
}

#[tokio::test]
async fn an_internal_extension_cannot_register_for_anything_else() {
    for event in ["SHUTDOWN", "NONSENSE"] {
        let (ours, theirs) = seen(event).await;

        for seen in [ours, theirs] {
            assert_eq!(seen[0]["status"], 403, "{event}");
            assert_eq!(seen[0]["body"]["errorType"], "Extension.InvalidEventType", "{event}");
            assert_eq!(seen.as_array().map(Vec::len), Some(1), "{event}");
        }
    }
}

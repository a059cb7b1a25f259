//! What a function and its caller observe of an invocation is the same in the stand-in and in the RIE.

use std::collections::BTreeMap;

use common::clock;
use serde_json::{Value, json};

use super::rie::Rie;
use super::{Both, Observed, TIMEOUT, launch, observe};

/// The largest answer, in bytes.
const MOST: usize = 6_291_556;

#[tokio::test]
async fn a_result_comes_back_as_it_was_sent() {
    let both = Both::start(&[]).await;

    for event in
        [json!({"do": "event", "text": "é\n\u{0}"}), json!({"do": "event", "deep": [[[{}]], 1.5, null]})]
    {
        assert_eq!(both.agree(&event).await, Observed::Result(event));
    }
    assert_eq!(both.agree_to("before").await, Observed::Result(json!(202)), "of the runtime's last answer");
}

#[tokio::test]
async fn a_result_that_is_not_json_is_not_looked_into() {
    let both = Both::start(&[]).await;

    assert_eq!(both.agree_to("malformed").await, Observed::Result(json!("{ not JSON")));
    assert_eq!(both.agree_to("before").await, Observed::Result(json!(202)));
}

#[tokio::test]
async fn an_error_of_the_handler_comes_back_with_its_type_and_the_process_lives_on() {
    let both = Both::start(&[]).await;

    assert_eq!(both.agree_to("error").await, Observed::error("Probe.Error"));
    assert_eq!(both.agree_to("before").await, Observed::Result(json!(202)), "the same process");
}

#[tokio::test]
async fn a_process_that_ends_in_an_invocation_is_an_exit_error_and_the_next_one_starts_anew() {
    for how in ["exit", "abort", "return"] {
        let both = Both::start(&[]).await;
        both.agree_to("event").await;

        assert_eq!(both.agree_to(how).await, Observed::error("Runtime.ExitError"), "{how}");
        assert_eq!(both.agree_to("before").await, Observed::Result(Value::Null), "{how}: a new process");
    }
}

#[tokio::test]
async fn an_invocation_past_the_time_limit_ends_the_process() {
    let both = Both::start(&[]).await;
    both.agree_to("event").await;

    assert_eq!(both.agree_to("sleep").await, Observed::TimedOut);
    assert_eq!(both.agree_to("before").await, Observed::Result(Value::Null), "a new process");
}

#[tokio::test]
async fn a_failing_init_is_told_with_its_error() {
    let env = [("PROBE_INIT", "error")];

    let ours = launch(&env).start().await.unwrap_err().to_string();
    let theirs = Rie::start(&env).await.invoke(&json!({})).await;

    assert_eq!(theirs, Observed::error("Probe.Init"));
    assert!(ours.contains("Probe.Init"), "{ours}");
}

#[tokio::test]
async fn the_runtime_api_refuses_the_same_calls_with_the_same_status() {
    for (what, status) in
        [("wrong id", 400), ("unknown path", 404), ("register late", 403), ("unknown extension", 403)]
    {
        let both = Both::start(&[]).await;

        assert_eq!(both.agree_to(what).await, Observed::Result(json!(status)), "{what}");
    }
    let both = Both::start(&[]).await;
    assert_eq!(both.agree_to("twice").await, Observed::Result(json!(1)), "the first answer counts");
    assert_eq!(both.agree_to("before").await, Observed::Result(json!([202, 403])));
}

#[tokio::test]
async fn the_largest_result_is_taken_and_a_byte_more_is_an_error() {
    let both = Both::start(&[]).await;
    // A text has quotes around it.
    let large = |bytes: usize| json!({"do": "large", "bytes": bytes - 2});

    let most = both.agree(&large(MOST)).await.result();
    assert_eq!(most.as_str().map(str::len), Some(MOST - 2));
    assert_eq!(both.agree(&large(MOST + 1)).await, Observed::error("Function.ResponseSizeTooLarge"));
    assert_eq!(both.agree_to("before").await, Observed::Result(json!(413)));
}

#[tokio::test]
async fn the_headers_of_an_invocation_have_the_same_names_and_shapes() {
    let both = Both::start(&[]).await;
    let earliest = clock::epoch_millis(TIMEOUT);

    let (ours, theirs) = both.invoke(&json!({"do": "headers"})).await;

    let latest = clock::epoch_millis(TIMEOUT);
    // An id, a deadline between now and the time limit, an ARN with another account.
    let shape = |name: &str, value: &Value| -> String {
        let value = value.as_str().unwrap_or_default();
        match name {
            "lambda-runtime-aws-request-id" => {
                value.parse::<uuid::Uuid>().map(|_| "UUID".to_owned()).unwrap()
            }
            "lambda-runtime-deadline-ms" => {
                let deadline: u128 = value.parse().unwrap();
                assert!((earliest..=latest).contains(&deadline), "{earliest} {deadline} {latest}");
                "in time".to_owned()
            }
            "lambda-runtime-invoked-function-arn" => {
                value.split(':').filter(|part| part.len() != 12).collect()
            }
            "date" => String::new(),
            _ => value.to_owned(),
        }
    };
    let shapes = |observed: Observed| -> BTreeMap<String, String> {
        let headers = observed.result();
        headers.as_object().unwrap().iter().map(|(name, value)| (name.clone(), shape(name, value))).collect()
    };
    let (mut ours, theirs) = (shapes(ours), shapes(theirs));
    // Lambda traces every invocation; the RIE traces none.
    assert!(ours.remove("lambda-runtime-trace-id").is_some_and(|trace| trace.starts_with("Root=1-")));
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn every_invocation_has_an_id_of_its_own() {
    let function = launch(&[]).start().await.unwrap();

    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let headers = observe(&function, &json!({"do": "headers"})).await.result();
        assert!(ids.insert(headers["lambda-runtime-aws-request-id"].to_string()), "{headers}");
    }
}

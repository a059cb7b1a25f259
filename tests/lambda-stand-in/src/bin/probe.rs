//! A function for the tests of the stand-in: does what its event says, and tells what it got to see of Lambda.
//!
//! It speaks the Runtime API by hand, so that it can also break its rules. With `PROBE_EXTENSION` it registers an internal
//! extension for that event first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::http::{Answer, send};
use common::settings;
use hyper::Method;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(600);

struct Api {
    address: String,
}

impl Api {
    async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let url = format!("http://{}/{path}", self.address);
        send(method, &url, headers, body, LIMIT).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn runtime(&self, path: &str, body: String) -> u16 {
        self.call(Method::POST, &format!("2018-06-01/runtime/{path}"), &[], body).await.status.as_u16()
    }

    async fn register(&self, event: &str) -> Answer {
        let headers = [("lambda-extension-name", "probe")];
        let body = json!({"events": [event]}).to_string();
        self.call(Method::POST, "2020-01-01/extension/register", &headers, body).await
    }

    async fn next_event(&self, id: &str) -> Answer {
        let headers = [("lambda-extension-identifier", id)];
        self.call(Method::GET, "2020-01-01/extension/event/next", &headers, String::new()).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let api = Arc::new(Api { address: settings::get("AWS_LAMBDA_RUNTIME_API").unwrap_or_default() });
    if settings::get("PROBE_INIT").as_deref() == Some("error") {
        api.runtime("init/error", json!({"errorType": "Probe.Init", "errorMessage": "no"}).to_string()).await;
        std::process::exit(4);
    }
    let registered = match settings::get("PROBE_EXTENSION") {
        Some(event) => extend(&api, &event).await,
        None => Arc::default(),
    };
    let mut before = Value::Null;
    loop {
        let next = api.call(Method::GET, "2018-06-01/runtime/invocation/next", &[], String::new()).await;
        let headers = next.headers.iter();
        let headers: BTreeMap<&str, &str> =
            headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default())).collect();
        let id = headers.get("lambda-runtime-aws-request-id").copied().unwrap_or_default();
        let event: Value = serde_json::from_slice(&next.body).unwrap_or_default();
        let respond = format!("invocation/{id}/response");
        let answer = match event["do"].as_str().unwrap_or_default() {
            "headers" => json!(headers),
            "event" => event.clone(),
            "before" => before.clone(),
            "extension" => json!(*registered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)),
            "register late" => json!(api.register("INVOKE").await.status.as_u16()),
            "unknown extension" => json!(api.next_event("nobody").await.status.as_u16()),
            "unknown path" => json!(api.runtime("nonsense", String::new()).await),
            "wrong id" => json!(api.runtime("invocation/nobody/response", "1".to_owned()).await),
            "large" => {
                json!("x".repeat(event["bytes"].as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0)))
            }
            "error" => {
                let error = json!({"errorType": "Probe.Error", "errorMessage": "as asked"});
                before = json!(api.runtime(&format!("invocation/{id}/error"), error.to_string()).await);
                continue;
            }
            "malformed" => {
                before = json!(api.runtime(&respond, "{ not JSON".to_owned()).await);
                continue;
            }
            "twice" => {
                let first = api.runtime(&respond, "1".to_owned()).await;
                before = json!([first, api.runtime(&respond, "2".to_owned()).await]);
                continue;
            }
            "exit" => std::process::exit(3),
            "abort" => std::process::abort(),
            "return" => return,
            "sleep" => {
                tokio::time::sleep(LIMIT).await;
                Value::Null
            }
            _ => Value::Null,
        };
        before = json!(api.runtime(&respond, answer.to_string()).await);
    }
}

/// Registers an extension and collects its events: the answer to the registration, then each event.
async fn extend(api: &Arc<Api>, event: &str) -> Arc<Mutex<Vec<Value>>> {
    let answer = api.register(event).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let id = answer.headers.get("lambda-extension-identifier").and_then(|id| id.to_str().ok());
    let seen = Arc::new(Mutex::new(vec![json!({"status": answer.status.as_u16(), "body": body})]));
    if let Some(id) = id.map(str::to_owned) {
        let (api, seen) = (Arc::clone(api), Arc::clone(&seen));
        tokio::spawn(async move {
            loop {
                let next = api.next_event(&id).await;
                let event = serde_json::from_slice(&next.body).unwrap_or_default();
                seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event);
            }
        });
    }
    seen
}

//! The stand-in itself: a check that cannot fail would prove nothing about the service.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod batch_limits;
mod injected_faults;
mod long_runs;

use cloudwatch_stand_in::CloudWatch;
use cloudwatch_stand_in::logs_client::Logs;
use common::Result;
use serde_json::{Value, json};

/// A group with one stream.
struct Bench {
    cloudwatch: CloudWatch,
    logs: Logs,
}

impl Bench {
    async fn start() -> Self {
        let cloudwatch = CloudWatch::start().await;
        let logs = Logs::at(&cloudwatch.endpoint());
        logs.call("CreateLogGroup", json!({ "logGroupName": "g" })).await.unwrap();
        logs.call("CreateLogStream", json!({ "logGroupName": "g", "logStreamName": "s" })).await.unwrap();
        Self { cloudwatch, logs }
    }

    /// Sends events, each a timestamp and a message.
    async fn put(&self, events: impl IntoIterator<Item = (i64, String)>) -> Result<Value> {
        self.put_to("g", "s", events).await
    }

    async fn put_to(
        &self,
        group: &str,
        stream: &str,
        events: impl IntoIterator<Item = (i64, String)>,
    ) -> Result<Value> {
        let events: Vec<Value> = events
            .into_iter()
            .map(|(timestamp, message)| json!({ "timestamp": timestamp, "message": message }))
            .collect();
        let body = json!({ "logGroupName": group, "logStreamName": stream, "logEvents": events });
        self.logs.call("PutLogEvents", body).await
    }

    fn stored(&self) -> Vec<String> {
        self.cloudwatch.stored().iter().map(|event| event.message.to_string()).collect()
    }
}

fn text(message: &str) -> String {
    message.to_owned()
}

/// Now, by the clock that the service goes by as long as it is not stopped.
fn now() -> i64 {
    common::clock::now().timestamp_millis()
}

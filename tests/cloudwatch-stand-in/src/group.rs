//! One log group: making it, and reading all that is in it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::logs_client::Logs;
use common::error::{Doing, Error, Result};

/// A log group with its streams.
#[derive(Clone, Debug)]
pub struct LogGroup {
    logs: Logs,
    name: String,
}

/// One event as CloudWatch Logs keeps it.
#[derive(Clone, Debug)]
pub struct Record {
    pub id: String,
    pub stream: String,
    /// Its CloudWatch timestamp, milliseconds since 1970.
    pub timestamp: i64,
    pub message: String,
}

impl Record {
    /// The message, which is to be one JSON object.
    pub fn json(&self) -> Result<Value> {
        match serde_json::from_str(&self.message) {
            Ok(value @ Value::Object(_)) => Ok(value),
            Ok(_) => Err(Error::new(format!("not a JSON object: {}", self.message))),
            Err(error) => Err(Error::because(format!("not JSON: {}", self.message), error)),
        }
    }
}

impl LogGroup {
    /// Makes the group and its streams.
    pub async fn create(logs: Logs, name: &str, streams: &[&str]) -> Result<Self> {
        logs.call("CreateLogGroup", json!({ "logGroupName": name })).await?;
        let group = Self { logs, name: name.to_owned() };
        for stream in streams {
            group.create_stream(stream).await?;
        }
        Ok(group)
    }

    pub async fn create_stream(&self, stream: &str) -> Result<()> {
        let body = json!({ "logGroupName": self.name, "logStreamName": stream });
        self.logs.call("CreateLogStream", body).await.map(drop)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client it was made with.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// When each stream last took something in: a cheap way to see that there is nothing new.
    pub async fn last_ingestion(&self) -> Result<Value> {
        let answer = self.logs.call("DescribeLogStreams", json!({ "logGroupName": self.name })).await?;
        let streams = answer["logStreams"].as_array().into_iter().flatten();
        Ok(streams
            .map(|stream| json!([stream["lastIngestionTime"], stream["uploadSequenceToken"]]))
            .collect())
    }

    /// All events, oldest first, those of one millisecond in the order of their arrival.
    pub async fn records(&self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut token = Value::Null;
        loop {
            let mut body = json!({ "logGroupName": self.name, "interleaved": true });
            if !token.is_null() {
                body["nextToken"] = token;
            }
            let mut page = self.logs.call("FilterLogEvents", body).await?;
            let events: Vec<Value> = serde_json::from_value(page["events"].take())
                .doing(|| "FilterLogEvents has no `events`".to_owned())?;
            records.extend(events.iter().map(record));
            token = page["nextToken"].take();
            if token.is_null() {
                records
                    .sort_by_key(|record: &Record| (record.timestamp, record.id.parse::<u64>().unwrap_or(0)));
                return Ok(records);
            }
        }
    }

    /// All events as JSON, oldest first.
    pub async fn events(&self) -> Result<Vec<Value>> {
        self.records().await?.iter().map(Record::json).collect()
    }

    /// Waits until `enough` says so of all events.
    pub async fn wait_for_events(
        &self,
        enough: impl Fn(&[Value]) -> bool,
        limit: Duration,
    ) -> Result<Vec<Value>> {
        let deadline = Instant::now() + limit;
        loop {
            let events = self.events().await?;
            if enough(&events) {
                return Ok(events);
            }
            if Instant::now() > deadline {
                let lines: String = events.iter().map(|event| format!("\n  {event}")).collect();
                let (count, limit) = (events.len(), limit.as_secs_f32());
                return Err(Error::new(format!(
                    "after {limit} s there are {count} events, not the expected:{lines}"
                )));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}

fn record(event: &Value) -> Record {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    Record {
        id: text("eventId"),
        stream: text("logStreamName"),
        timestamp: event["timestamp"].as_i64().unwrap_or_default(),
        message: text("message"),
    }
}

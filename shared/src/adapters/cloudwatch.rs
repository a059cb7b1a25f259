//! [`AuditLog`] on CloudWatch Logs.
//!
//! The client is built on first use, which is after the first response: it costs no caller anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::Config;
use aws_sdk_cloudwatchlogs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatchlogs::operation::put_log_events::{PutLogEventsError, PutLogEventsOutput};
use aws_sdk_cloudwatchlogs::types::{InputLogEvent, RejectedLogEventsInfo};
use tokio::sync::OnceCell;

use crate::domain::delivery::LogEvent;
use crate::error::{PutError, Source};
use crate::ports::AuditLog;

/// One attempt at one call may take this long, and no longer than leaves time for a second one.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);
/// The wait before a second attempt, at most.
const BACKOFF: Duration = Duration::from_millis(100);
/// Finding credentials and opening a connection included.
const CONNECT_LIMIT: Duration = Duration::from_millis(700);
/// One call with its repetitions may take this long; the caller's deadline comes on top.
const OPERATION_LIMIT: Duration = Duration::from_secs(5);

/// Refused whenever it is sent: something in it is at fault.
const INVALID: [&str; 3] = ["InvalidParameterException", "SerializationException", "ValidationException"];

/// One stream of the audit log group.
pub struct CloudWatchAuditLog {
    group: String,
    stream: &'static str,
    client: OnceCell<Client>,
    /// A missing stream is created once; whether that is allowed is up to the function's role.
    tried_to_create_stream: AtomicBool,
}

impl CloudWatchAuditLog {
    /// The stream named after a function, in the audit log group.
    #[must_use]
    pub fn new(group: String, stream: &'static str) -> Self {
        Self { group, stream, client: OnceCell::new(), tried_to_create_stream: AtomicBool::new(false) }
    }

    async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| async {
                let timeouts = TimeoutConfig::builder()
                    .connect_timeout(CONNECT_LIMIT)
                    .operation_attempt_timeout(ATTEMPT_LIMIT)
                    .operation_timeout(OPERATION_LIMIT)
                    .build();
                let config = aws_config::defaults(BehaviorVersion::latest())
                    .timeout_config(timeouts)
                    .retry_config(RetryConfig::standard().with_max_attempts(2).with_initial_backoff(BACKOFF))
                    .load()
                    .await;
                Client::new(&config)
            })
            .await
    }

    async fn call(
        &self,
        events: Vec<InputLogEvent>,
        deadline: Instant,
    ) -> Result<PutLogEventsOutput, SdkError<PutLogEventsError>> {
        let client = self.client().await;
        let half = deadline.saturating_duration_since(Instant::now()).saturating_sub(BACKOFF) / 2;
        let attempts = TimeoutConfig::builder().operation_attempt_timeout(half.min(ATTEMPT_LIMIT)).build();
        client
            .put_log_events()
            .log_group_name(&self.group)
            .log_stream_name(self.stream)
            .set_log_events(Some(events))
            .customize()
            .config_override(Config::builder().timeout_config(attempts))
            .send()
            .await
    }

    async fn send(&self, batch: &[LogEvent], deadline: Instant) -> Result<Vec<usize>, PutError> {
        let mut result = self.call(inputs(batch)?, deadline).await;
        let missing = result.as_ref().is_err_and(|error| error.code() == Some("ResourceNotFoundException"));
        if missing && !self.tried_to_create_stream.swap(true, Ordering::Relaxed) {
            self.create_stream().await;
            result = self.call(inputs(batch)?, deadline).await;
        }
        match result {
            Ok(output) => Ok(output
                .rejected_log_events_info()
                .map_or_else(Vec::new, |info| rejected(info, batch.len()))),
            Err(error) if error.code().is_some_and(|code| INVALID.contains(&code)) => {
                Err(PutError::Invalid(Box::new(error)))
            }
            Err(error) => Err(PutError::Unavailable(Box::new(error))),
        }
    }

    async fn create_stream(&self) {
        let client = self.client().await;
        let created =
            client.create_log_stream().log_group_name(&self.group).log_stream_name(self.stream).send().await;
        if let Err(error) = created {
            tracing::warn!(
                group = self.group,
                stream = self.stream,
                code = error.code(),
                "the audit log stream is missing and could not be created"
            );
        }
    }
}

#[async_trait]
impl AuditLog for CloudWatchAuditLog {
    async fn put(&self, batch: &[LogEvent], deadline: Instant) -> Result<Vec<usize>, PutError> {
        let sent = tokio::time::timeout_at(deadline.into(), self.send(batch, deadline)).await;
        sent.unwrap_or_else(|_| {
            let source: Source = "no answer within the time there was".into();
            Err(PutError::Unavailable(source))
        })
    }
}

fn inputs(batch: &[LogEvent]) -> Result<Vec<InputLogEvent>, PutError> {
    let input = |event: &LogEvent| {
        InputLogEvent::builder().timestamp(event.timestamp_ms).message(&event.message).build()
    };
    batch.iter().map(input).collect::<Result<_, _>>().map_err(|error| PutError::Invalid(error.into()))
}

/// The indexes that were refused: old ones end (exclusively) at an index, new ones start at one.
fn rejected(info: &RejectedLogEventsInfo, len: usize) -> Vec<usize> {
    let index = |value: Option<i32>| value.and_then(|value| usize::try_from(value).ok());
    let too_old = index(info.too_old_log_event_end_index()).unwrap_or(0);
    let expired = index(info.expired_log_event_end_index()).unwrap_or(0);
    let too_new = index(info.too_new_log_event_start_index()).unwrap_or(len);
    (0..len).filter(|at| *at < too_old || *at < expired || *at >= too_new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_indexes_are_read_from_both_ends() {
        let info = |old, expired, new| {
            RejectedLogEventsInfo::builder()
                .set_too_old_log_event_end_index(old)
                .set_expired_log_event_end_index(expired)
                .set_too_new_log_event_start_index(new)
                .build()
        };

        assert_eq!(rejected(&info(None, None, None), 3), Vec::<usize>::new());
        assert_eq!(rejected(&info(Some(2), Some(1), None), 4), [0, 1]);
        assert_eq!(rejected(&info(None, None, Some(2)), 4), [2, 3]);
        assert_eq!(rejected(&info(Some(1), None, Some(3)), 4), [0, 3]);
    }
}

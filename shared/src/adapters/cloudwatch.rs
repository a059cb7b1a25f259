//! [`AuditLog`] on CloudWatch Logs. The client is built on first use, which is after the first response, so no caller
//! waits for it. [`trail_reader`] reads what was written.

pub mod trail_reader;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatchlogs::operation::put_log_events::PutLogEventsError;
use aws_sdk_cloudwatchlogs::types::{InputLogEvent, RejectedLogEventsInfo};
use tokio::sync::OnceCell;

use crate::config::{Lookup, SettingError, error, optional};
use crate::error::BoxError;
use crate::ports::audit_log::{AuditLog, LogEvent, PutError};

/// Per call; the caller's deadline applies as well. Generous, because an abandoned call may have stored the batch,
/// which is sent again later.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// Total attempts for calls that are refused outright.
const ATTEMPTS: u32 = 2;
const BACKOFF: Duration = Duration::from_millis(100);
const CONNECT_LIMIT: Duration = Duration::from_millis(700);
/// The status when an intermediary considers the batch too large.
const TOO_LARGE: u16 = 413;

/// Refused however often it is sent: something in the batch is at fault.
const INVALID: [&str; 3] = ["InvalidParameterException", "SerializationException", "ValidationException"];

/// The batch is already stored, by an earlier call.
const ACCEPTED_BEFORE: &str = "DataAlreadyAcceptedException";

enum Failure {
    /// Refused or never sent, so nothing is stored; a retry may succeed.
    Again(BoxError),
    /// A retry would be refused for the same reason.
    Refused(BoxError),
    /// The log stream or its group does not exist.
    Missing(BoxError),
    /// Something in the batch is at fault.
    Invalid(BoxError),
    /// Sent, with unknown outcome.
    Ambiguous(BoxError),
}

/// Reads `AUDIT_LOG_GROUP`. Rejects names that CloudWatch Logs does not allow, as it would refuse every event.
pub fn audit_log_group(lookup: Lookup<'_>) -> Result<String, SettingError> {
    let group = optional(lookup, "AUDIT_LOG_GROUP").unwrap_or_else(|| "/flag-schedules/audit".to_owned());
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/#".contains(c);
    if group.len() <= 512 && group.chars().all(allowed) {
        Ok(group)
    } else {
        Err(error("AUDIT_LOG_GROUP", "is not a log group name; it must be 1 to 512 of a-z A-Z 0-9 . _ - / #"))
    }
}

/// Writes to the stream named after the function, in the audit log group.
pub struct CloudWatchAuditLog {
    group: String,
    stream: &'static str,
    client: OnceCell<Client>,
    /// A missing stream is created once, if the function's role allows it.
    tried_to_create_stream: AtomicBool,
}

impl CloudWatchAuditLog {
    #[must_use]
    pub fn new(group: String, stream: &'static str) -> Self {
        Self { group, stream, client: OnceCell::new(), tried_to_create_stream: AtomicBool::new(false) }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(new_client).await
    }

    /// One call. Returns the indexes of events rejected for their timestamps.
    async fn call(&self, batch: &[LogEvent], deadline: Instant) -> Result<Vec<usize>, Failure> {
        let events = inputs(batch)?;
        let calling = async {
            let client = self.client().await;
            client
                .put_log_events()
                .log_group_name(&self.group)
                .log_stream_name(self.stream)
                .set_log_events(Some(events))
                .send()
                .await
        };
        let end = deadline.min(Instant::now() + CALL_LIMIT);
        match tokio::time::timeout_at(end.into(), calling).await {
            Ok(Ok(output)) => Ok(output
                .rejected_log_events_info()
                .map_or_else(Vec::new, |info| rejected(info, batch.len()))),
            Ok(Err(error)) if error.code() == Some(ACCEPTED_BEFORE) => Ok(Vec::new()),
            Ok(Err(error)) => Err(failure(error)),
            Err(_) => Err(Failure::Ambiguous("no answer within the time there was".into())),
        }
    }

    async fn send(&self, batch: &[LogEvent], deadline: Instant) -> Result<Vec<usize>, PutError> {
        let mut attempts = 1;
        loop {
            match self.call(batch, deadline).await {
                Ok(rejected) => return Ok(rejected),
                Err(Failure::Invalid(source)) => return Err(PutError::Invalid(source)),
                Err(Failure::Ambiguous(source)) => return Err(PutError::Ambiguous(source)),
                Err(Failure::Refused(source)) => return Err(PutError::Unavailable(source)),
                Err(Failure::Missing(source)) => {
                    if self.tried_to_create_stream.swap(true, Ordering::Relaxed) {
                        return Err(PutError::Unavailable(source));
                    }
                    let creating = tokio::time::timeout_at(deadline.into(), self.create_stream());
                    if creating.await.is_err() {
                        return Err(PutError::Unavailable(source));
                    }
                }
                Err(Failure::Again(source)) => {
                    attempts += 1;
                    if attempts > ATTEMPTS || Instant::now() + BACKOFF * 2 > deadline {
                        return Err(PutError::Unavailable(source));
                    }
                    tokio::time::sleep(BACKOFF).await;
                }
            }
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
        // A connection that was closed while the environment was frozen has not noticed yet. Let its task run before
        // writing a batch to it: the outcome of that batch would be unknown.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        if Instant::now() >= deadline {
            return Err(PutError::Unavailable("there is no time left".into()));
        }
        self.send(batch, deadline).await
    }
}

/// A client that repeats nothing: the SDK also retries after timeouts and dropped connections, when a batch may be stored
/// already.
async fn new_client() -> Client {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_LIMIT).build();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await;
    Client::new(&config)
}

fn is_throttling(code: &str) -> bool {
    code.contains("Throttl") || code.contains("LimitExceeded")
}

/// Classifies an error by what it means for the batch.
fn failure(error: SdkError<PutLogEventsError>) -> Failure {
    let never_connected = || {
        let mut source = Some(&error as &(dyn std::error::Error + 'static));
        while let Some(error) = source {
            if error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|it| it.is_connect()) {
                return true;
            }
            source = error.source();
        }
        false
    };
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().map(str::to_owned);
    match (&error, code.as_deref(), status) {
        (SdkError::ConstructionFailure(_), ..) => Failure::Again(error.into()),
        (SdkError::DispatchFailure(failed), ..) if failed.is_user() || never_connected() => {
            Failure::Again(error.into())
        }
        (_, Some("ResourceNotFoundException"), _) => Failure::Missing(error.into()),
        (_, Some(code), _) if INVALID.contains(&code) => Failure::Invalid(error.into()),
        (_, _, Some(TOO_LARGE)) => Failure::Invalid(error.into()),
        // Gateway timeouts, and anything that is not a response of CloudWatch Logs: the batch may have arrived.
        (_, _, Some(..=399 | 408 | 504) | None) => Failure::Ambiguous(error.into()),
        (_, _, Some(429 | 500..)) => Failure::Again(error.into()),
        (_, Some(code), _) if is_throttling(code) => Failure::Again(error.into()),
        _ => Failure::Refused(error.into()),
    }
}

fn inputs(batch: &[LogEvent]) -> Result<Vec<InputLogEvent>, Failure> {
    let input = |event: &LogEvent| {
        InputLogEvent::builder().timestamp(event.timestamp_ms).message(&event.message).build()
    };
    batch.iter().map(input).collect::<Result<_, _>>().map_err(|error| Failure::Invalid(error.into()))
}

/// Old events end (exclusively) at an index, new ones start at one.
fn rejected(info: &RejectedLogEventsInfo, len: usize) -> Vec<usize> {
    // A negative index is before the first event.
    let index = |value: i32| usize::try_from(value).unwrap_or(0);
    let too_old = info.too_old_log_event_end_index().map_or(0, index);
    let expired = info.expired_log_event_end_index().map_or(0, index);
    let too_new = info.too_new_log_event_start_index().map_or(len, index);
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

    #[test]
    fn rejected_indexes_of_any_value_name_events_of_the_batch() {
        let values = [None, Some(i32::MIN), Some(-1), Some(0), Some(1), Some(3), Some(4), Some(i32::MAX)];
        for at in 0..values.len().pow(3) {
            let value = |digit: u32| values[at / values.len().pow(digit) % values.len()];
            let (old, expired, new) = (value(0), value(1), value(2));
            let info = RejectedLogEventsInfo::builder()
                .set_too_old_log_event_end_index(old)
                .set_expired_log_event_end_index(expired)
                .set_too_new_log_event_start_index(new)
                .build();

            for len in [0, 1, 3] {
                let rejected = rejected(&info, len);

                assert!(rejected.is_sorted() && rejected.iter().all(|index| *index < len));
                let all = old.max(expired) == Some(i32::MAX) || new.is_some_and(|start| start <= 0);
                assert!(!all || rejected.len() == len, "{old:?} {expired:?} {new:?}: {rejected:?}");
            }
        }
    }

    #[test]
    fn a_log_group_that_cloudwatch_would_refuse_is_refused_at_start() {
        let group = |name: &str| audit_log_group(&|_| Some(name.to_owned()));
        assert_eq!(group("/a/b-c_d.e#1").unwrap(), "/a/b-c_d.e#1");
        assert!(group("with space").is_err());
        assert_eq!(audit_log_group(&|_| None).unwrap(), "/flag-schedules/audit");
    }
}

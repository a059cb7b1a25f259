//! [`TrailReader`] on CloudWatch Logs: `FilterLogEvents`, which allows an account a few calls a second, of a megabyte each.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatchlogs::operation::filter_log_events::{FilterLogEventsError, FilterLogEventsOutput};
use tokio::sync::OnceCell;

use super::{is_throttling, new_client};
use crate::domain::time_range::TimeRange;
use crate::error::BoxError;
use crate::ports::trail_reader::{ReadError, TrailPage, TrailReader};

/// Per call.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Attempts of one call. Throttled ones are repeated for as long as there is time.
const ATTEMPTS: u32 = 5;
/// Before the first repetition; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Events in a page. CloudWatch Logs returns at most a megabyte, less than this; an emulator may not.
const PAGE: i32 = 2_000;

/// Reads all streams of the audit log group.
pub struct CloudWatchTrailReader {
    group: String,
    client: OnceCell<Client>,
}

enum Failure {
    Throttled(BoxError),
    /// A repetition may succeed.
    Again(BoxError),
    Refused(BoxError),
}

impl CloudWatchTrailReader {
    #[must_use]
    pub fn new(group: String) -> Self {
        Self { group, client: OnceCell::new() }
    }

    async fn call(
        &self,
        range: TimeRange,
        token: Option<&str>,
        until: Instant,
    ) -> Result<FilterLogEventsOutput, Failure> {
        let calling = async {
            let client = self.client.get_or_init(new_client).await;
            client
                .filter_log_events()
                .log_group_name(&self.group)
                .start_time(range.from.to_millis().max(0))
                // Inclusive.
                .end_time((range.to.to_millis() - 1).max(0))
                .limit(PAGE)
                .set_next_token(token.map(str::to_owned))
                .send()
                .await
        };
        let end = until.min(Instant::now() + CALL_LIMIT);
        match tokio::time::timeout_at(end.into(), calling).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(failure(error)),
            Err(_) => Err(Failure::Again("no answer within the time there was".into())),
        }
    }
}

#[async_trait]
impl TrailReader for CloudWatchTrailReader {
    async fn page(
        &self,
        range: TimeRange,
        token: Option<&str>,
        until: Instant,
    ) -> Result<TrailPage, ReadError> {
        let (mut attempts, mut pause) = (1, FIRST_PAUSE);
        loop {
            match self.call(range, token, until).await {
                Ok(output) => {
                    let events = output.events.unwrap_or_default().into_iter();
                    let messages = events.filter_map(|event| event.message).collect();
                    return Ok(TrailPage { messages, next: output.next_token });
                }
                Err(Failure::Refused(error)) => return Err(ReadError::Unreadable(error)),
                Err(_) if Instant::now() + pause >= until => return Err(ReadError::OutOfTime),
                Err(Failure::Throttled(error)) => tracing::debug!(error, "FilterLogEvents was throttled"),
                Err(Failure::Again(error)) => {
                    if attempts == ATTEMPTS {
                        return Err(ReadError::Unreadable(error));
                    }
                    attempts += 1;
                    tracing::warn!(error, "repeating FilterLogEvents");
                }
            }
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

fn failure(error: SdkError<FilterLogEventsError>) -> Failure {
    let status = error.raw_response().map(|response| response.status().as_u16());
    match (error.code(), status) {
        (Some(code), _) if is_throttling(code) => Failure::Throttled(error.into()),
        (_, Some(429)) => Failure::Throttled(error.into()),
        (_, Some(400..=499)) => Failure::Refused(error.into()),
        _ => Failure::Again(error.into()),
    }
}

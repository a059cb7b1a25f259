//! The documented limits of `PutLogEvents`.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>

use serde_json::{Map, Value};

use crate::record::Input;

/// Events in one batch, at most.
pub const MAX_EVENTS: usize = 10_000;
/// Bytes in one batch, at most: messages in UTF-8, and [`EVENT_OVERHEAD`] for each event.
pub const MAX_BYTES: usize = 1_048_576;
/// What each event counts for beside its message, in bytes.
pub const EVENT_OVERHEAD: usize = 26;
/// From the first to the last event of a batch, at most, in milliseconds.
pub const MAX_SPAN_MS: i64 = 24 * HOUR_MS;
/// An event may lie this far in the past, in milliseconds.
pub const MAX_AGE_MS: i64 = 14 * DAY_MS;
/// An event may lie this far in the future, in milliseconds.
pub const MAX_AHEAD_MS: i64 = 2 * HOUR_MS;

const HOUR_MS: i64 = 60 * 60 * 1000;
/// A day, in milliseconds: retention is counted in days.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Why a batch is refused as a whole; always an `InvalidParameterException`.
pub fn check(batch: &[Input]) -> Result<(), String> {
    if batch.is_empty() || batch.len() > MAX_EVENTS {
        return Err(format!("a batch of {} events, not of 1 to {MAX_EVENTS}", batch.len()));
    }
    if let Some(at) = batch.iter().position(|event| event.message.is_empty()) {
        return Err(format!("the message of event {at} is empty"));
    }
    if let Some(at) = batch.iter().position(|event| event.timestamp < 0) {
        return Err(format!("the timestamp of event {at} is before 1970"));
    }
    let weight = |event: &Input| event.message.len() + EVENT_OVERHEAD;
    if let Some(event) = batch.iter().find(|event| weight(event) > MAX_BYTES) {
        return Err(format!("log event too large: {} bytes exceed the limit of {MAX_BYTES}", weight(event)));
    }
    let bytes: usize = batch.iter().map(weight).sum();
    if bytes > MAX_BYTES {
        return Err(format!("upload too large: {bytes} bytes exceed the limit of {MAX_BYTES}"));
    }
    if let Some(at) = batch.windows(2).position(|pair| pair[0].timestamp > pair[1].timestamp) {
        return Err(format!("not in chronological order: event {at} is later than the next one"));
    }
    let span = batch[batch.len() - 1].timestamp - batch[0].timestamp;
    if span > MAX_SPAN_MS {
        return Err(format!("the batch spans more than 24 hours: {span} ms"));
    }
    Ok(())
}

/// Which events of a legal batch are refused for their time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rejected {
    /// Events before this index are more than 14 days old.
    pub too_old_end: Option<usize>,
    /// Events before this index are older than the group keeps events.
    pub expired_end: Option<usize>,
    /// Events from this index on are more than two hours in the future.
    pub too_new_start: Option<usize>,
}

impl Rejected {
    /// Judges a batch in chronological order.
    pub fn of(batch: &[Input], now: i64, retention_days: Option<i64>) -> Self {
        let older_than = |oldest: i64| match batch.partition_point(|event| event.timestamp < oldest) {
            0 => None,
            end => Some(end),
        };
        let latest = now + MAX_AHEAD_MS;
        let too_new = batch.partition_point(|event| event.timestamp <= latest);
        Self {
            too_old_end: older_than(now - MAX_AGE_MS),
            expired_end: retention_days.and_then(|days| older_than(now - days * DAY_MS)),
            too_new_start: (too_new < batch.len()).then_some(too_new),
        }
    }

    /// Whether the event at this index is refused.
    pub fn has(&self, index: usize) -> bool {
        self.too_old_end.is_some_and(|end| index < end)
            || self.expired_end.is_some_and(|end| index < end)
            || self.too_new_start.is_some_and(|start| index >= start)
    }

    /// `rejectedLogEventsInfo`, when there is anything to tell.
    pub(super) fn info(&self) -> Option<Value> {
        let indexes = [
            ("tooOldLogEventEndIndex", self.too_old_end),
            ("expiredLogEventEndIndex", self.expired_end),
            ("tooNewLogEventStartIndex", self.too_new_start),
        ];
        let info: Map<String, Value> = indexes
            .into_iter()
            .filter_map(|(name, index)| index.map(|index| (name.to_owned(), index.into())))
            .collect();
        (!info.is_empty()).then_some(Value::Object(info))
    }
}

//! The state of one send: which batch comes next, and which events CloudWatch Logs rejected.

use std::ops::Range;

use crate::domain::audit_event::EventId;
use crate::error::BoxError;
use crate::ports::audit_log::LogEvent;
use crate::ports::outbox::DeliveryOutcome;

/// While the log has accepted nothing, this many batches may be refused as invalid before the log itself is at fault.
const REFUSALS_BEFORE_SUCCESS: usize = 40;
/// Longest reason in the outbox, in characters.
const MAX_REASON: usize = 1_000;

/// An event to be sent, without its content: the events themselves are in a slice, as the port takes them.
pub(super) struct Outgoing {
    /// Its position in the caller's list.
    pub(super) index: usize,
    pub(super) event_id: EventId,
    pub(super) use_time_of_sending: bool,
}

impl Outgoing {
    /// Logs an event that can never be delivered, so that it is at least in the function's own log. Its id and the
    /// reason come first: a line of more than a megabyte is cut off.
    pub(super) fn dead(&self, event: &LogEvent, reason: &str) -> DeliveryOutcome {
        tracing::error!(
            event_id = %self.event_id.0,
            reason,
            audit_event = %event.message,
            "an audit event can never be delivered and is dead"
        );
        DeliveryOutcome::Dead(storable_reason(reason))
    }
}

/// Why CloudWatch Logs rejected an event.
pub(super) enum Rejection {
    /// Its own timestamp.
    Timestamp,
    /// Even the time of sending.
    TimeOfSending,
    /// The event, sent alone.
    Invalid(BoxError),
}

/// Over both attempts of a send.
#[derive(Default)]
pub(super) struct SendStats {
    pub(super) accepted: bool,
    pub(super) refusals: usize,
}

impl SendStats {
    /// The index of the batch to send next: the first one. But while batches were refused and none was accepted, the
    /// first, the last and the largest alternate, so that an acceptable event is found soon wherever it is, and shows
    /// what is at fault.
    pub(super) fn next(&self, queue: &[Range<usize>]) -> usize {
        match self.refusals % 3 {
            _ if self.accepted || self.refusals == 0 => 0,
            1 => 0,
            2 => queue.len() - 1,
            _ => (0..queue.len()).max_by_key(|at| queue[*at].len()).unwrap_or_default(),
        }
    }

    pub(super) fn is_log_at_fault(&self) -> bool {
        !self.accepted && self.refusals >= REFUSALS_BEFORE_SUCCESS
    }
}

pub(super) struct SendState {
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) events: Vec<LogEvent>,
    rejections: Vec<(usize, Rejection)>,
}

impl SendState {
    /// Events in the order of time, as CloudWatch Logs requires.
    pub(super) fn new(mut events: Vec<(Outgoing, LogEvent)>) -> Self {
        events.sort_by_key(|(_, event)| event.timestamp_ms);
        let (outgoing, events) = events.into_iter().unzip();
        Self { outgoing, events, rejections: Vec::new() }
    }

    pub(super) fn reject(&mut self, at: usize, error: BoxError) {
        self.rejections.push((at, Rejection::Invalid(error)));
    }

    /// Applies the response to a batch.
    pub(super) fn record_response(
        &mut self,
        range: Range<usize>,
        rejected: &[usize],
        outcomes: &mut [DeliveryOutcome],
    ) {
        let mut rejected = rejected.iter().copied().peekable();
        for (offset, at) in range.enumerate() {
            let Outgoing { index, use_time_of_sending, .. } = self.outgoing[at];
            if rejected.next_if_eq(&offset).is_none() {
                outcomes[index] = DeliveryOutcome::Delivered;
            } else if use_time_of_sending {
                self.rejections.push((at, Rejection::TimeOfSending));
            } else {
                self.rejections.push((at, Rejection::Timestamp));
            }
        }
    }

    pub(super) fn into_rejected(self) -> Vec<(Outgoing, LogEvent, Rejection)> {
        let mut rejections: Vec<Option<Rejection>> = self.outgoing.iter().map(|_| None).collect();
        for (at, rejection) in self.rejections {
            rejections[at] = Some(rejection);
        }
        let all = self.outgoing.into_iter().zip(self.events).zip(rejections);
        all.filter_map(|((outgoing, event), rejection)| Some((outgoing, event, rejection?))).collect()
    }
}

/// A reason that PostgreSQL can store.
pub(super) fn storable_reason(reason: &str) -> String {
    reason.replace('\0', "\u{fffd}").chars().take(MAX_REASON).collect()
}

//! Sends events to the audit log: renders them, cuts legal batches, and finds out what became of each.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::batch::{EVENT_OVERHEAD, MAX_BYTES, batches, weight};
use super::{AuditTrail, DirectEvent};
use crate::domain::audit_event::{AuditEvent, EventId};
use crate::domain::delivery::{Fate, LogEvent, OutboxRow};
use crate::error::{PutError, Source, chain};
use crate::ports::Courier;

/// While the log has accepted nothing, so many batches may be refused as invalid: then the log is at fault.
const REFUSALS_BEFORE_SUCCESS: usize = 40;
/// A reason in the outbox has so many characters at most.
const MAX_REASON: usize = 1_000;

/// Sends events and keeps in mind how it went.
pub(super) struct Carrier<'a> {
    trail: &'a AuditTrail,
    /// Whether anything was sent at all.
    sent: AtomicBool,
    /// Whether sending ended before everything had been tried.
    stopped: AtomicBool,
    /// Rows that stay in the outbox.
    kept: Mutex<Vec<EventId>>,
    /// The places of events that may have been stored.
    unanswered: Mutex<Vec<usize>>,
}

/// What there is to know of an event on its way; the events themselves are next to it, one after the other, as the port
/// takes them.
struct Parcel {
    /// Its place in the answer.
    index: usize,
    event_id: EventId,
    refused_before: bool,
}

/// What CloudWatch Logs has against an event.
enum Objection {
    /// Its own timestamp.
    Time,
    /// It refused the event even with the time of sending.
    TimeOfSending,
    /// It refused the event alone.
    Invalid(Source),
}

/// What has become of the events of one send so far.
struct Send {
    parcels: Vec<Parcel>,
    events: Vec<LogEvent>,
    objections: Vec<(usize, Objection)>,
}

/// How sending goes, over both attempts.
#[derive(Default)]
struct Course {
    accepted: bool,
    refusals: usize,
}

/// One event as one line of JSON.
#[must_use]
pub fn render(event: &AuditEvent) -> String {
    // Serialising cannot fail: no map with other than string keys, no fallible `Serialize` in it.
    serde_json::to_string(event).unwrap_or_default()
}

/// One event as the audit log takes it.
#[must_use]
pub(super) fn log_event(event: &AuditEvent) -> LogEvent {
    LogEvent { timestamp_ms: event.occurred_at.to_utc().timestamp_millis(), message: render(event) }
}

#[async_trait]
impl Courier for Carrier<'_> {
    async fn carry(&self, rows: Vec<OutboxRow>, until: Instant) -> Vec<Fate> {
        let mut fates = vec![Fate::Kept; rows.len()];
        let ids: Vec<EventId> = rows.iter().map(|row| row.event_id).collect();
        let mut parcels = Vec::with_capacity(rows.len());
        for (index, row) in rows.into_iter().enumerate() {
            let OutboxRow { event_id, refused_before, facts, raw } = row;
            let rendered = facts.map_err(|error| chain(error.as_ref())).and_then(|facts| {
                AuditEvent::of(event_id, facts.event_type, facts.context, &facts.schedule)
                    .map_err(|error| error.to_string())
            });
            match rendered {
                Ok(event) => {
                    parcels.push((Parcel { index, event_id, refused_before }, log_event(&event)));
                }
                Err(reason) => {
                    tracing::error!(
                        event_id = %event_id.0,
                        reason,
                        outbox_row = raw,
                        "an audit event cannot be rendered and is dead"
                    );
                    fates[index] = Fate::Dead(reason_for_the_outbox(&reason));
                }
            }
        }
        self.send(parcels, &mut fates, until).await;
        let stays = |fate: &Fate| matches!(fate, Fate::Kept | Fate::Refused);
        let kept = ids.into_iter().zip(&fates).filter(|(_, fate)| stays(fate)).map(|(id, _)| id);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).extend(kept);
        fates
    }
}

impl<'a> Carrier<'a> {
    pub(super) fn new(trail: &'a AuditTrail) -> Self {
        Self {
            trail,
            sent: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            kept: Mutex::default(),
            unanswered: Mutex::default(),
        }
    }

    /// Rows that stay in the outbox.
    pub(super) fn kept(self) -> Vec<EventId> {
        self.kept.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The places of events that may have been stored.
    pub(super) fn unanswered(&self) -> Vec<usize> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether sending ended before everything had been tried.
    pub(super) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Whether anything may have been stored.
    pub(super) fn sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sends events that have no outbox row, and says of each what became of it.
    pub(super) async fn carry_direct(&self, events: &[DirectEvent], until: Instant) -> Vec<Fate> {
        let mut fates = vec![Fate::Kept; events.len()];
        let parcel = |(index, direct): (usize, &DirectEvent)| {
            let parcel = Parcel { index, event_id: direct.event_id, refused_before: direct.refused_before };
            (parcel, direct.event.clone())
        };
        let parcels = events.iter().enumerate().map(parcel).collect();
        self.send(parcels, &mut fates, until).await;
        fates
    }

    /// Sends all of it, and what was refused for its timestamp once more with the time of sending. That CloudWatch Logs
    /// refuses an event condemns it only if another one was accepted: a log that accepts nothing is itself at fault.
    async fn send(&self, parcels: Vec<(Parcel, LogEvent)>, fates: &mut [Fate], until: Instant) {
        let (mut fit, oversized): (Vec<_>, Vec<_>) =
            parcels.into_iter().partition(|(_, event)| weight(event) <= MAX_BYTES);
        for (parcel, event) in oversized {
            let limit = MAX_BYTES - EVENT_OVERHEAD;
            fates[parcel.index] = dead(&parcel, &event, &format!("the event is larger than {limit} bytes"));
        }
        let now = self.trail.clock.now().to_utc().timestamp_millis();
        for (parcel, event) in &mut fit {
            // Times before 1970 would make the whole batch invalid.
            parcel.refused_before |= event.timestamp_ms < 0;
            if parcel.refused_before {
                event.timestamp_ms = now;
            }
        }
        let mut course = Course::default();
        let first = self.send_ordered(fit, fates, &mut course, until).await;
        let (for_their_time, others): (Vec<_>, Vec<_>) =
            first.into_iter().partition(|(.., objection)| matches!(objection, Objection::Time));
        let now = self.trail.clock.now().to_utc().timestamp_millis();
        let again = for_their_time.into_iter().map(|(mut parcel, mut event, _)| {
            fates[parcel.index] = Fate::Refused;
            event.timestamp_ms = now;
            parcel.refused_before = true;
            (parcel, event)
        });
        let again = again.collect();
        let second = self.send_ordered(again, fates, &mut course, until).await;

        for (parcel, event, objection) in others.into_iter().chain(second) {
            let reason = match objection {
                Objection::Time | Objection::TimeOfSending => {
                    "CloudWatch Logs refused the event even with the time of sending".to_owned()
                }
                Objection::Invalid(error) => chain(error.as_ref()),
            };
            if course.accepted {
                fates[parcel.index] = dead(&parcel, &event, &reason);
            } else {
                tracing::warn!(
                    event_id = %parcel.event_id.0,
                    reason,
                    "CloudWatch Logs refused an audit event, and accepted no other; it is kept"
                );
                fates[parcel.index] = Fate::Kept;
            }
        }
    }

    /// Sends in the order of time; returns what CloudWatch Logs has something against.
    async fn send_ordered(
        &self,
        mut parcels: Vec<(Parcel, LogEvent)>,
        fates: &mut [Fate],
        course: &mut Course,
        until: Instant,
    ) -> Vec<(Parcel, LogEvent, Objection)> {
        parcels.sort_by_key(|(_, event)| event.timestamp_ms);
        let (parcels, events) = parcels.into_iter().unzip();
        let mut send = Send { parcels, events, objections: Vec::new() };
        let mut queue = batches(&send.events);
        while !queue.is_empty() {
            let range = queue.remove(next(&queue, course));
            if !self.has_time(until) {
                self.stopped.store(true, Ordering::Relaxed);
                break;
            }
            match self.put(&send.events[range.clone()], until).await {
                Ok(rejected) => {
                    course.accepted |= rejected.len() < range.len();
                    send.answered(range, &rejected, fates);
                }
                Err(PutError::Invalid(error)) => {
                    course.refusals += 1;
                    if range.len() == 1 {
                        send.objections.push((range.start, Objection::Invalid(error)));
                    } else {
                        let middle = range.start + range.len() / 2;
                        let at = queue.partition_point(|other| other.start < range.start);
                        queue.splice(at..at, [range.start..middle, middle..range.end]);
                    }
                    if !course.accepted && course.refusals >= REFUSALS_BEFORE_SUCCESS {
                        break;
                    }
                }
                Err(error @ (PutError::Unavailable(_) | PutError::Ambiguous(_))) => {
                    self.stopped.store(true, Ordering::Relaxed);
                    if matches!(error, PutError::Ambiguous(_)) {
                        let places = send.parcels[range.clone()].iter().map(|parcel| parcel.index);
                        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).extend(places);
                    }
                    tracing::warn!(
                        error = chain(&error),
                        kept = range.len() + queue.iter().map(Range::len).sum::<usize>(),
                        "audit events were not delivered and are kept"
                    );
                    break;
                }
            }
        }
        send.objected()
    }

    /// One call, and what it tells about the log.
    async fn put(&self, batch: &[LogEvent], until: Instant) -> Result<Vec<usize>, PutError> {
        self.sent.store(true, Ordering::Relaxed);
        let began = Instant::now();
        // Also if this future is dropped before there is an answer.
        let silent = std::mem::replace(&mut self.trail.invocation().silent, true);
        let result = self.trail.log.put(batch, until).await;
        let mut invocation = self.trail.invocation();
        if !matches!(result, Err(PutError::Ambiguous(_))) {
            invocation.silent = silent;
            invocation.slowest = invocation.slowest.max(began.elapsed());
        }
        result
    }

    /// Whether another call may be made: the log has not fallen silent, and there is time for an answer. A call that is
    /// cut short may have stored its events.
    fn has_time(&self, until: Instant) -> bool {
        !self.trail.is_silent() && Instant::now() + self.trail.time_for_an_answer() < until
    }
}

/// Which batch is sent next: the first one. But while some have been refused and nothing has been accepted, the first, the
/// last and the largest take turns: an acceptable event is found soon, wherever it is, and shows whose fault it is.
fn next(queue: &[Range<usize>], course: &Course) -> usize {
    match course.refusals % 3 {
        _ if course.accepted || course.refusals == 0 => 0,
        1 => 0,
        2 => queue.len() - 1,
        _ => (0..queue.len()).max_by_key(|at| queue[*at].len()).unwrap_or_default(),
    }
}

impl AuditTrail {
    pub(super) fn is_silent(&self) -> bool {
        self.invocation().silent
    }

    /// How long an answer may take, by those that came in this invocation.
    pub(super) fn time_for_an_answer(&self) -> Duration {
        self.invocation().slowest * 3 / 2
    }
}

impl Send {
    /// Takes in the answer to a batch.
    fn answered(&mut self, range: Range<usize>, rejected: &[usize], fates: &mut [Fate]) {
        let mut rejected = rejected.iter().copied().peekable();
        for (offset, at) in range.enumerate() {
            let parcel = &self.parcels[at];
            if rejected.next_if_eq(&offset).is_none() {
                fates[parcel.index] = Fate::Delivered;
            } else if parcel.refused_before {
                self.objections.push((at, Objection::TimeOfSending));
            } else {
                self.objections.push((at, Objection::Time));
            }
        }
    }

    fn objected(self) -> Vec<(Parcel, LogEvent, Objection)> {
        let mut objections: Vec<Option<Objection>> = self.parcels.iter().map(|_| None).collect();
        for (at, objection) in self.objections {
            objections[at] = Some(objection);
        }
        let all = self.parcels.into_iter().zip(self.events).zip(objections);
        all.filter_map(|((parcel, event), objection)| Some((parcel, event, objection?))).collect()
    }
}

/// An event that can never be delivered is at least in the function's own log. Its id and the reason come first: a line of
/// more than a megabyte is cut off.
fn dead(parcel: &Parcel, event: &LogEvent, reason: &str) -> Fate {
    tracing::error!(
        event_id = %parcel.event_id.0,
        reason,
        audit_event = %event.message,
        "an audit event can never be delivered and is dead"
    );
    Fate::Dead(reason_for_the_outbox(reason))
}

/// A reason that PostgreSQL can store, whoever has worded it.
fn reason_for_the_outbox(reason: &str) -> String {
    reason.replace('\0', "\u{fffd}").chars().take(MAX_REASON).collect()
}

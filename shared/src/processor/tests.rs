//! A tick over a store in memory in which any flag may go wrong in any way: the others are done all the same.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::{Processor, TickError, TickReport, Watch};
use crate::audit::AuditTrail;
use crate::domain::apply::{DueSchedule, Failure, Outcome, StoredJson, decide};
use crate::domain::audit_event::{AuditEvent, EventId, EventType};
use crate::domain::flag::{Environment, FlagId, FlagKey, FlagState};
use crate::domain::schedule::{Schedule, ScheduleId, Status, StoredStatus};
use crate::domain::time::{StoredMicros, Timestamp};
use crate::ports::audit_log::{AuditLog, LogEvent, PutError};
use crate::ports::clock::Clock;
use crate::ports::due::{Batch, BatchFailure, BatchRequest, Claim, DuePosition, DueStore, NextDue, StillDue};
use crate::ports::outbox::{
    AuditBacklog, AuditOutbox, Delivery, DeliveryError, DeliveryOutcome, EventSender, FallbackLog, Selection,
};
use crate::ports::store_error::{Fault, StoreError};

const OFF: FlagState = FlagState { enabled: false, rollout_percentage: 0 };

/// What is the matter with a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    Healthy,
    /// Somebody holds a lock.
    Locked,
    /// Every batch that changes it fails like this; its schedules can be failed.
    Fails(Fault),
    /// Not even that.
    FailsForGood(Fault),
}

/// What is due: flags with a number of schedules each.
struct Memory {
    flags: Vec<(Flag, u32)>,
    outbox_works: bool,
    /// Due schedules: position, which is also the id, and flag.
    due: Mutex<BTreeSet<(u32, usize)>>,
    failed: Mutex<Vec<u32>>,
    fallback_log: Mutex<usize>,
    attempts: Mutex<u64>,
}

impl Memory {
    fn new(flags: Vec<(Flag, u32)>, outbox_works: bool) -> Self {
        // The schedules of the flags in turn, so that batches mix them.
        let rounds = flags.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let all = (0..rounds).flat_map(|round| (0..flags.len()).map(move |flag| (round, flag)));
        let due = all.filter(|(round, flag)| *round < flags[*flag].1);
        let due = due.zip(0..).map(|((_, flag), position)| (position, flag)).collect();
        Self {
            flags,
            outbox_works,
            due: Mutex::new(due),
            failed: Mutex::default(),
            fallback_log: Mutex::default(),
            attempts: Mutex::default(),
        }
    }

    fn left(&self) -> BTreeSet<usize> {
        self.due.lock().unwrap().iter().map(|(_, flag)| *flag).collect()
    }
}

fn flag_id(flag: usize) -> FlagId {
    FlagId(Uuid::from_u128(flag as u128))
}

fn schedule_id(position: u32) -> ScheduleId {
    ScheduleId(Uuid::from_u128(position.into()))
}

fn at(position: u32) -> DuePosition {
    let time = StoredMicros(position.into());
    DuePosition { scheduled_at: time, created_at: time, id: schedule_id(position) }
}

fn time() -> Timestamp {
    Timestamp::parse("2026-02-09T09:00:00Z").unwrap()
}

fn event(event_id: EventId, context: &crate::domain::audit_event::EventContext) -> AuditEvent {
    let schedule = Schedule {
        id: schedule_id(0),
        flag_key: FlagKey::parse("a".to_owned()).unwrap(),
        environment: Environment::default(),
        scheduled_at: time(),
        apply_by: None,
        status: StoredStatus::Known(Status::Failed),
        updates: json!({"enabled": true}).into(),
        expect: None,
        reason: None,
        created_at: None,
        created_by: None,
        cancelled_at: None,
        cancelled_by: None,
        cancel_reason: None,
        applied_at: None,
        failed_at: Some(time()),
        error_code: Some("expired".to_owned()),
        error_message: None,
    };
    AuditEvent::of(event_id, EventType::Failed, context.clone(), &schedule).unwrap()
}

#[async_trait]
impl DueStore for Memory {
    async fn apply_batch(
        &self,
        request: &BatchRequest<'_>,
        fallback_log: &dyn FallbackLog,
    ) -> Result<Batch, BatchFailure> {
        *self.attempts.lock().unwrap() += 1;
        let mut due = self.due.lock().unwrap();
        let window: Vec<(u32, usize)> = due
            .iter()
            .filter(|(position, flag)| {
                request.after.is_none_or(|after| at(*position) > after)
                    && !request.skip.contains(&flag_id(*flag))
            })
            .take(request.limit.into())
            .copied()
            .collect();
        let Some((last, _)) = window.last() else { return Ok(Batch::default()) };
        let flags: BTreeSet<usize> = window.iter().map(|(_, flag)| *flag).collect();
        let free = |flag: usize| self.flags[flag].0 != Flag::Locked && flags.contains(&flag);
        let rows: Vec<(u32, usize)> =
            due.iter().filter(|(_, flag)| free(*flag)).take(request.limit.into()).copied().collect();
        let claim = Claim {
            end: at(*last),
            schedules: u16::try_from(window.len()).unwrap(),
            first: rows.first().map(|(position, flag)| (flag_id(*flag), schedule_id(*position))),
        };
        let failure = |fault| {
            let error = StoreError::Internal("no".into());
            BatchFailure { error, fault, claim: Some(claim) }
        };
        if request.bypass_outbox.is_none() && !self.outbox_works && !rows.is_empty() {
            return Err(failure(Fault::Rejected));
        }
        for (position, flag) in &rows {
            let is_rejected = request.reject.as_ref().is_some_and(|(id, _)| *id == schedule_id(*position));
            match self.flags[*flag].0 {
                Flag::Fails(kind) if !is_rejected => return Err(failure(kind)),
                Flag::FailsForGood(kind) => return Err(failure(kind)),
                _ => {}
            }
        }
        let mut batch = Batch {
            reached: (window.len() >= request.limit.into()).then_some(at(*last)),
            flags_locked: flags.iter().filter(|flag| !free(**flag)).count() as u64,
            ..Batch::default()
        };
        for (position, flag) in rows {
            let outcome = if request.reject.as_ref().is_some_and(|(id, _)| *id == schedule_id(position)) {
                self.failed.lock().unwrap().push(position);
                Outcome::Failed(Failure::RejectedByDatabase("no".to_owned()), OFF)
            } else {
                let schedule = DueSchedule {
                    id: schedule_id(position),
                    scheduled_at: time(),
                    apply_by: None,
                    updates: StoredJson::Readable(json!({"enabled": true})),
                    expect: StoredJson::Readable(json!(null)),
                };
                decide(OFF, &[schedule], time()).1.remove(0)
            };
            due.remove(&(position, flag));
            let event_id = EventId::new();
            if let Some(reason) = &request.bypass_outbox {
                let event = event(event_id, request.context);
                fallback_log.log_in_full(&event, reason);
                *self.fallback_log.lock().unwrap() += 1;
                batch.direct_events.push(event);
            }
            batch.ended.push(crate::ports::due::Ended {
                id: schedule_id(position),
                flag_id: flag_id(flag),
                event_id,
                outcome,
                lateness: Duration::ZERO,
            });
        }
        Ok(batch)
    }

    async fn check(&self, bypass_outbox: bool, _: Instant) -> Result<(), StoreError> {
        if bypass_outbox || self.outbox_works {
            Ok(())
        } else {
            Err(StoreError::Internal("no outbox".into()))
        }
    }

    async fn next_due(&self) -> Result<NextDue, StoreError> {
        Ok(NextDue::default())
    }

    async fn is_another_tick_working(&self, _: i32) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn still_due(&self) -> Result<StillDue, StoreError> {
        Ok(StillDue { count: self.due.lock().unwrap().len() as u64, oldest_age: Duration::ZERO })
    }
}

struct NoOutbox;

#[async_trait]
impl AuditOutbox for NoOutbox {
    async fn deliver(
        &self,
        _: Selection<'_>,
        _: &dyn EventSender,
        _: Instant,
    ) -> Result<Delivery, DeliveryError> {
        Ok(Delivery::default())
    }

    async fn settle(&self, _: &[(EventId, DeliveryOutcome)], _: Instant) -> Result<(), StoreError> {
        Ok(())
    }

    async fn backlog(&self) -> Result<AuditBacklog, StoreError> {
        Ok(AuditBacklog::default())
    }
}

#[derive(Default)]
struct Log(Mutex<usize>);

#[async_trait]
impl AuditLog for Log {
    async fn put(&self, batch: &[LogEvent], _: Instant) -> Result<Vec<usize>, PutError> {
        *self.0.lock().unwrap() += batch.len();
        Ok(Vec::new())
    }
}

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        time()
    }
}

/// A tick over this, with the number of events that were sent directly.
fn tick(memory: &Arc<Memory>) -> (Result<TickReport, TickError>, usize) {
    let log = Arc::new(Log::default());
    let outbox: Arc<dyn AuditOutbox> = Arc::new(NoOutbox);
    let audit = AuditTrail::new(Arc::clone(&outbox), Arc::clone(&log) as _, Arc::new(FixedClock));
    let mut processor = Processor::new(Arc::clone(memory) as _, outbox, Arc::new(audit), Watch::Planned);
    processor.patience = Duration::ZERO;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let report = runtime.block_on(processor.tick("t", Instant::now() + Duration::from_secs(60)));
    let sent = *log.0.lock().unwrap();
    (report, sent)
}

fn kind() -> impl Strategy<Value = Fault> {
    // No conflict: it is repeated after a pause, which a test would have to wait for.
    prop_oneof![
        Just(Fault::Lost),
        Just(Fault::TooSlow),
        Just(Fault::Locked),
        Just(Fault::Rejected),
        Just(Fault::ServerUnavailable),
    ]
}

fn flag() -> impl Strategy<Value = Flag> {
    prop_oneof![
        20 => Just(Flag::Healthy),
        1 => Just(Flag::Locked),
        1 => kind().prop_map(Flag::Fails),
        1 => kind().prop_map(Flag::FailsForGood),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn whatever_is_the_matter_with_some_flags_the_others_are_done(
        mut flags in proptest::collection::vec((flag(), 1u32..4), 1..900),
        outbox_works in any::<bool>(),
    ) {
        flags.push((Flag::Healthy, 1));
        let memory = Arc::new(Memory::new(flags.clone(), outbox_works));

        let (report, sent) = tick(&memory);

        let report = report.unwrap();
        let left = memory.left();
        let mut offenders = 0;
        for (flag, (state, count)) in flags.iter().enumerate() {
            let is_done = !left.contains(&flag);
            match state {
                Flag::Healthy => prop_assert!(is_done, "healthy flag {flag} was not done: {report:?}"),
                Flag::Fails(Fault::Rejected) => prop_assert!(is_done, "flag {flag}: {report:?}"),
                Flag::Locked | Flag::Fails(_) | Flag::FailsForGood(_) => {
                    prop_assert!(!is_done, "flag {flag} was done: {report:?}");
                }
            }
            offenders += if matches!(state, Flag::Healthy | Flag::Locked) { 0 } else { u64::from(*count) };
        }
        let rejected = flags.iter().filter(|(state, _)| *state == Flag::Fails(Fault::Rejected));
        let rejected: u32 = rejected.map(|(_, count)| *count).sum();
        prop_assert_eq!(memory.failed.lock().unwrap().len(), rejected as usize);
        prop_assert_eq!(report.flags_locked, flags.iter().filter(|(state, _)| *state == Flag::Locked).count() as u64);
        if !outbox_works {
            prop_assert_eq!(sent as u64, report.ended());
            prop_assert!(*memory.fallback_log.lock().unwrap() >= sent);
        }
        let attempts = *memory.attempts.lock().unwrap();
        let total: u32 = flags.iter().map(|(_, count)| count).sum();
        let bound = 2 * u64::from(total.div_ceil(super::batches::BATCH.into())) + 6 + 70 * offenders;
        prop_assert!(attempts <= bound, "{attempts} attempts for {offenders} offenders, more than {bound}");
    }
}

#[test]
fn a_tick_that_could_do_nothing_says_why() {
    let of = |flag| tick(&Arc::new(Memory::new(vec![(flag, 2); 3], true))).0;

    assert!(matches!(of(Flag::Locked), Err(TickError::AllLocked { flags: 3 })));
    for kind in [Fault::TooSlow, Fault::ServerUnavailable, Fault::Rejected] {
        assert!(matches!(of(Flag::FailsForGood(kind)), Err(TickError::Store(_))), "{kind:?}");
    }
    let nothing_due = tick(&Arc::new(Memory::new(Vec::new(), true))).0;
    assert_eq!(nothing_due.unwrap().ended(), 0);
}

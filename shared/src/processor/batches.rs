//! Which batch comes next, and what a failure proves: isolation by evidence.
//!
//! A failed batch is retried in smaller batches: if the others succeed, the remaining flag is at fault. No error code
//! decides that; a code only decides whether that one schedule fails or stays pending. A broken outbox is found in the same
//! way: the batch succeeds without it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::audit_event::{EventContext, EventId};
use crate::domain::schedule::ScheduleId;
use crate::error::chain;
use crate::ports::due::{Batch, BatchFailure, BatchRequest, Claim, DuePosition, DueStore};
use crate::ports::outbox::FallbackLog;
use crate::ports::store_error::{Fault, StoreError};

/// Most schedules in one batch: bounds memory and time, whatever is due.
pub(super) const BATCH: u16 = 1_000;
/// Limit for a whole batch; above the server's timeout for one of its statements.
const BATCH_LIMIT: Duration = Duration::from_secs(10);
/// A smaller batch may take a multiple of the time for storing nothing, within these bounds, plus a little for each
/// schedule: flags that wait for something must cost little, and a slow network must not fail a batch.
const PART_LIMIT: Duration = Duration::from_secs(3);
const PART_LIMIT_MIN: Duration = Duration::from_millis(300);
const PART_LIMIT_FACTOR: u32 = 10;
const PART_LIMIT_EACH: Duration = Duration::from_millis(5);
/// A rejected batch shrinks by this factor: a logarithmic number of attempts finds the flag at fault.
const SHRINK_FACTOR: u16 = 2;
/// A batch that timed out shrinks by this factor: few attempts, because each takes long.
const SHRINK_FACTOR_IF_SLOW: u16 = 32;
/// Before retrying a batch after a deadlock: the other transaction must get its lock first, or they collide again.
const CONFLICT_PAUSE: Duration = Duration::from_millis(100);

/// The batches of one tick: rounds, each of passes over everything due, oldest first.
pub(super) struct Batches<'a> {
    store: Arc<dyn DueStore>,
    fallback_log: &'a dyn FallbackLog,
    deadline: Instant,
    /// The next batch; skips the flags left to the next tick.
    pub(super) request: BatchRequest<'a>,
    /// Ranges in which a batch failed, outermost first: up to that position, batches have this size.
    divided: Vec<(DuePosition, u16)>,
    /// When the last pass began.
    pub(super) pass_began: Instant,
    is_retry: bool,
    /// Whether a batch was stored in this round, if only an empty one.
    has_stored: bool,
    /// When a connection was last abandoned: the server may hold its locks for a moment longer.
    pub(super) given_up: Option<Instant>,
    /// Limit for a smaller batch, once measured.
    part_limit: Option<Duration>,
    /// Schedules that ended in this tick. None ends twice, unless a trigger makes it pending again.
    ended: HashSet<ScheduleId>,
    outbox: Outbox,
    /// The error of the first flag that was left to the next tick.
    pub(super) first_error: Option<StoreError>,
}

/// Whether the outbox can be written, as far as this round knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outbox {
    Unknown,
    Works,
    Broken,
}

impl<'a> Batches<'a> {
    pub(super) fn new(
        store: Arc<dyn DueStore>,
        context: &'a EventContext,
        fallback_log: &'a dyn FallbackLog,
        deadline: Instant,
    ) -> Self {
        let request = BatchRequest {
            // The lowest bits of a UUIDv7 are random.
            tick: (EventId::new().0.as_u128() & 0x7fff_ffff) as i32,
            context,
            after: None,
            limit: BATCH,
            skip: Vec::new(),
            bypass_outbox: None,
            reject: None,
            deadline,
        };
        Self {
            store,
            fallback_log,
            deadline,
            request,
            divided: Vec::new(),
            pass_began: Instant::now(),
            is_retry: false,
            has_stored: false,
            given_up: None,
            part_limit: None,
            ended: HashSet::new(),
            outbox: Outbox::Unknown,
            first_error: None,
        }
    }

    /// Begins another round: what was proved about the database in an earlier one may no longer hold.
    pub(super) fn start_over(&mut self) {
        self.request.after = None;
        self.request.reject = None;
        self.request.bypass_outbox = None;
        self.divided.clear();
        self.is_retry = false;
        self.has_stored = false;
        self.outbox = Outbox::Unknown;
    }

    /// Whether the last batch reached the end of what is due, so that the next one begins another pass.
    pub(super) fn is_at_pass_start(&self) -> bool {
        self.request.after.is_none()
    }

    /// Tries one batch. `Ok(None)` when it failed, and the next attempt will differ.
    ///
    /// # Errors
    /// An error that affects every batch.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, StoreError> {
        if self.is_at_pass_start() {
            self.pass_began = Instant::now();
        }
        self.request.limit = self.divided.last().map_or(BATCH, |(_, size)| *size);
        let part_limit = self.part_limit.unwrap_or(PART_LIMIT) + PART_LIMIT_EACH * self.request.limit.into();
        let limit = if self.divided.is_empty() { BATCH_LIMIT } else { part_limit };
        self.request.deadline = self.deadline.min(Instant::now() + limit);
        let batch = match self.store.apply_batch(&self.request, self.fallback_log).await {
            Ok(batch) => batch,
            Err(failure) => return self.failed(failure).await.map(|()| None),
        };
        if !batch.ended.is_empty() {
            self.has_stored = true;
            // A batch that fails with the outbox and succeeds without it proves it broken: the rest of the round bypasses it.
            self.outbox = if self.request.bypass_outbox.is_none() { Outbox::Works } else { Outbox::Broken };
        }
        for again in batch.ended.iter().filter(|ended| !self.ended.insert(ended.id)) {
            tracing::error!(schedule_id = %again.id, flag_id = %again.flag_id.0, "a schedule is pending again; its flag is left to the next tick");
            self.request.skip.push(again.flag_id);
        }
        self.advance(batch.reached);
        Ok(Some(batch))
    }

    /// Continues after this position; `None` when nothing due lies beyond it.
    fn advance(&mut self, reached: Option<DuePosition>) {
        self.is_retry = false;
        self.request.reject = None;
        self.use_outbox_again();
        self.request.after = reached;
        while self.divided.last().is_some_and(|(end, _)| reached.is_none_or(|reached| reached >= *end)) {
            self.divided.pop();
        }
    }

    /// Uses the outbox again, unless it is known to be broken.
    fn use_outbox_again(&mut self) {
        self.request.bypass_outbox.take_if(|_| self.outbox != Outbox::Broken);
    }

    /// Chooses the next attempt. Possible causes are excluded one after the other, the cheapest first: something temporary,
    /// the outbox, the database as a whole; what remains is a flag.
    async fn failed(&mut self, failure: BatchFailure) -> Result<(), StoreError> {
        let BatchFailure { error, fault, claim } = failure;
        if matches!(fault, Fault::Lost | Fault::TooSlow) {
            self.given_up = Some(Instant::now());
        }
        if self.retry_unchanged(fault).await {
            return Ok(());
        }
        // Nothing was claimed, so no flag is at fault.
        let Some(claim) = claim else { return Err(error) };
        if self.try_without_outbox(&claim, fault, &error) {
            return Ok(());
        }
        if !self.is_database_sound(fault).await {
            return Err(error);
        }
        // The batch fails without the outbox as well, so the outbox is not at fault.
        self.use_outbox_again();
        if claim.schedules > 1 {
            let factor = if fault.is_slow() { SHRINK_FACTOR_IF_SLOW } else { SHRINK_FACTOR };
            self.divided.push((claim.end, claim.schedules.div_ceil(factor)));
            return Ok(());
        }
        match claim.first {
            Some((_, schedule)) if fault.is_rejection() && self.request.reject.is_none() => {
                self.request.reject = Some((schedule, error.reason()));
            }
            _ => self.leave_to_next_tick(claim, fault, error),
        }
        Ok(())
    }

    /// Once for each batch: a lost connection, a deadlock, and a whole batch that may have been rejected for a temporary
    /// reason.
    async fn retry_unchanged(&mut self, fault: Fault) -> bool {
        let is_whole = self.divided.is_empty() && self.request.bypass_outbox.is_none();
        let is_temporary = matches!(fault, Fault::Lost | Fault::Conflict) || fault.is_rejection() && is_whole;
        if !is_temporary || std::mem::replace(&mut self.is_retry, true) {
            return false;
        }
        if fault == Fault::Conflict {
            tokio::time::sleep(CONFLICT_PAUSE).await;
        }
        true
    }

    /// Before anything was stored, suspects the outbox for a whole batch; afterwards only for a lock that was not granted,
    /// or for the last remaining schedule.
    fn try_without_outbox(&mut self, claim: &Claim, fault: Fault, error: &StoreError) -> bool {
        if self.request.bypass_outbox.is_some() || !(fault.is_rejection() || fault == Fault::Locked) {
            return false;
        }
        let is_suspect = match self.outbox {
            Outbox::Unknown => self.divided.is_empty(),
            Outbox::Works | Outbox::Broken => fault == Fault::Locked,
        };
        if claim.schedules > 1 && !is_suspect {
            return false;
        }
        self.request.bypass_outbox = Some(chain(error));
        true
    }

    /// Whether an empty batch can be stored; if not, no flag is at fault. Also measures the limit for smaller batches.
    async fn is_database_sound(&mut self, fault: Fault) -> bool {
        if self.has_stored && (!fault.is_slow() || self.part_limit.is_some()) {
            return true;
        }
        let began = Instant::now();
        let deadline = self.deadline.min(began + PART_LIMIT);
        if self.store.check(self.outbox != Outbox::Works, deadline).await.is_err() {
            return false;
        }
        self.has_stored = true;
        let limit = began.elapsed() * PART_LIMIT_FACTOR;
        self.part_limit = Some(limit.clamp(PART_LIMIT_MIN, PART_LIMIT));
        true
    }

    fn leave_to_next_tick(&mut self, claim: Claim, fault: Fault, error: StoreError) {
        if let Some((flag, _)) = claim.first {
            tracing::error!(flag_id = %flag.0, error = chain(&error), "a flag is left to the next tick");
            self.request.skip.push(flag);
        }
        // Unless it is unavailable, the database works, and refuses this flag.
        let is_unavailable = fault == Fault::ServerUnavailable;
        self.first_error.get_or_insert(if is_unavailable {
            error
        } else {
            StoreError::Internal(error.into())
        });
        self.advance(Some(claim.end));
    }
}

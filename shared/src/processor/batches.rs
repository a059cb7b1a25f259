//! Which batch comes next, and what a failed one tells: isolation by evidence.
//!
//! A failed batch is tried again in smaller ones: if the others succeed, the fault lies with the flag that is left over. No
//! error code decides that; a code only decides whether that one schedule fails or stays pending. An outbox that cannot be
//! written is found in the same way: the batch succeeds without it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::audit_event::{EventContext, EventId};
use crate::domain::schedule::ScheduleId;
use crate::error::chain;
use crate::ports::due::{Batch, BatchFailure, BatchRequest, Claim, DuePosition, DueStore};
use crate::ports::outbox::EventJournal;
use crate::ports::store_error::{Fault, StoreError};

/// Schedules in one batch, at most: it bounds memory and time, whatever is due.
pub(super) const BATCH: u16 = 1_000;
/// A whole batch may take this long, longer than the server's statement timeout for one statement of it.
const BATCH_LIMIT: Duration = Duration::from_secs(10);
/// A batch that was made smaller may take many times as long as storing nothing, within these bounds, and a little for each
/// schedule: flags that wait for something must cost little, and a slow network is no reason to give up.
const PART_LIMIT: Duration = Duration::from_secs(3);
const PART_LIMIT_MIN: Duration = Duration::from_millis(300);
const PART_LIMIT_FACTOR: u32 = 10;
const PART_LIMIT_EACH: Duration = Duration::from_millis(5);
/// A rejected batch is divided by this: the offender is found in a logarithmic number of attempts.
const DIVISOR: u16 = 2;
/// A batch that took too long is divided by this: few attempts, because each of them takes long.
const DIVISOR_IF_SLOW: u16 = 32;
/// Before a batch is repeated that was in a deadlock: the other one must get its lock first, or they meet again.
const CONFLICT_PAUSE: Duration = Duration::from_millis(100);

/// The batches of one tick, oldest first, in passes over all that is due.
pub(super) struct Batches<'a> {
    store: Arc<dyn DueStore>,
    journal: &'a dyn EventJournal,
    deadline: Instant,
    /// The next batch. It skips the flags that this tick leaves alone.
    pub(super) request: BatchRequest<'a>,
    /// Regions in which a batch failed, the outermost first: up to their ends, batches have this size.
    divided: Vec<(DuePosition, u16)>,
    /// Whether the next batch is one that was repeated already.
    is_repeated: bool,
    /// Whether something was stored, or could have been: what fails now does so for reasons of its own.
    is_sound: bool,
    /// When a connection was last given up: its locks may be there for a moment longer.
    pub(super) given_up: Option<Instant>,
    /// How long a batch that was made smaller may take, once it has been measured.
    part_limit: Option<Duration>,
    /// The schedules that reached their end. None does so twice, unless a trigger puts it back.
    ended: HashSet<ScheduleId>,
    /// Whether the outbox can be written, once that is known.
    outbox: Option<bool>,
    /// The error of the first flag that was left alone.
    pub(super) first_error: Option<StoreError>,
}

impl<'a> Batches<'a> {
    pub(super) fn new(
        store: Arc<dyn DueStore>,
        context: &'a EventContext,
        journal: &'a dyn EventJournal,
        deadline: Instant,
    ) -> Self {
        let request = BatchRequest {
            // The lowest bits of a UUIDv7 are random.
            tick: (EventId::new().0.as_u128() & 0x7fff_ffff) as i32,
            context,
            after: None,
            limit: BATCH,
            skip: Vec::new(),
            direct: None,
            reject: None,
            deadline,
        };
        Self {
            store,
            journal,
            deadline,
            request,
            divided: Vec::new(),
            is_repeated: false,
            is_sound: false,
            given_up: None,
            part_limit: None,
            ended: HashSet::new(),
            outbox: None,
            first_error: None,
        }
    }

    /// Whether the last batch has reached the end of what is due: the next one begins another pass.
    pub(super) fn is_pass_over(&self) -> bool {
        self.request.after.is_none()
    }

    /// Tries one batch. `Ok(None)` when it failed and something else is to be tried.
    ///
    /// # Errors
    /// What keeps every batch from being stored.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, StoreError> {
        self.request.limit = self.divided.last().map_or(BATCH, |(_, size)| *size);
        let part_limit = self.part_limit.unwrap_or(PART_LIMIT) + PART_LIMIT_EACH * self.request.limit.into();
        let limit = if self.divided.is_empty() { BATCH_LIMIT } else { part_limit };
        self.request.deadline = self.deadline.min(Instant::now() + limit);
        let batch = match self.store.apply_batch(&self.request, self.journal).await {
            Ok(batch) => batch,
            Err(failure) => return self.failed(failure).await.map(|()| None),
        };
        if !batch.ended.is_empty() {
            self.is_sound = true;
            // What failed with the outbox and succeeds without it shows that it is broken: the rest of the tick does without.
            self.outbox = Some(self.request.direct.is_none());
        }
        for again in batch.ended.iter().filter(|ended| !self.ended.insert(ended.id)) {
            tracing::error!(schedule_id = %again.id, flag_id = %again.flag_id.0, "a schedule is pending again; its flag is left to the next tick");
            self.request.skip.push(again.flag_id);
        }
        self.pass(batch.reached);
        Ok(Some(batch))
    }

    /// A batch has come this far; `None` when nothing due lies beyond.
    fn pass(&mut self, reached: Option<DuePosition>) {
        self.is_repeated = false;
        self.request.reject = None;
        self.forget_suspicion();
        self.request.after = reached;
        while self.divided.last().is_some_and(|(end, _)| reached.is_none_or(|reached| reached >= *end)) {
            self.divided.pop();
        }
    }

    /// The next batch goes to the outbox again, unless that is known to be broken.
    fn forget_suspicion(&mut self) {
        self.request.direct.take_if(|_| self.outbox != Some(false));
    }

    async fn failed(&mut self, failure: BatchFailure) -> Result<(), StoreError> {
        let BatchFailure { error, fault, claim } = failure;
        if matches!(fault, Fault::Lost | Fault::TooSlow) {
            self.given_up = Some(Instant::now());
        }
        let is_rejected = matches!(fault, Fault::Rejected | Fault::Other);
        // What was rejected as a whole may have been so for a reason that passes.
        let is_whole = is_rejected && self.divided.is_empty() && self.request.direct.is_none();
        if (matches!(fault, Fault::Lost | Fault::Conflict) || is_whole) && !self.is_repeated {
            self.is_repeated = true;
            if fault == Fault::Conflict {
                tokio::time::sleep(CONFLICT_PAUSE).await;
            }
            return Ok(());
        }
        // Without a claim it was about no flag.
        let Some(claim) = claim else { return Err(error) };
        let is_one = claim.schedules <= 1;
        if self.request.direct.is_none() && (is_rejected || fault == Fault::Locked) {
            // The whole batch as long as nothing was stored; what is left over of a divided one in the end.
            let is_suspect = match self.outbox {
                None => self.divided.is_empty(),
                Some(_) => fault == Fault::Locked,
            };
            if is_one || is_suspect {
                self.request.direct = Some(chain(&error));
                return Ok(());
            }
        }
        let is_slow = !is_rejected && fault != Fault::Unavailable;
        if !self.is_sound || (is_slow && self.part_limit.is_none()) {
            // If not even nothing can be stored, it is about no flag.
            let began = Instant::now();
            if self
                .store
                .check(self.outbox != Some(true), self.deadline.min(began + PART_LIMIT))
                .await
                .is_err()
            {
                return Err(error);
            }
            self.is_sound = true;
            let limit = began.elapsed() * PART_LIMIT_FACTOR;
            self.part_limit = Some(limit.clamp(PART_LIMIT_MIN, PART_LIMIT));
        }
        // It fails without the outbox as well, so that is not to blame.
        self.forget_suspicion();
        match claim.first {
            _ if !is_one => {
                let divisor = if is_slow { DIVISOR_IF_SLOW } else { DIVISOR };
                self.divided.push((claim.end, claim.schedules.div_ceil(divisor)));
            }
            Some((_, schedule)) if is_rejected && self.request.reject.is_none() => {
                self.request.reject = Some((schedule, error.reason()));
            }
            _ => self.leave(claim, fault, error),
        }
        Ok(())
    }

    /// Leaves the flag of a claim to the next tick.
    fn leave(&mut self, claim: Claim, fault: Fault, error: StoreError) {
        if let Some((flag, _)) = claim.first {
            tracing::error!(flag_id = %flag.0, error = chain(&error), "a flag is left to the next tick");
            self.request.skip.push(flag);
        }
        // Otherwise the database is there: it is this flag that it would not change.
        let is_unavailable = fault == Fault::Unavailable;
        self.first_error.get_or_insert(if is_unavailable {
            error
        } else {
            StoreError::Refused(error.into())
        });
        self.pass(Some(claim.end));
    }
}

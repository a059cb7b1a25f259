//! Which batch comes next, and what a failed one tells: isolation by evidence.
//!
//! A failed batch is tried again in smaller ones: if the others succeed, the fault lies with the flag that is left over. No
//! error code decides that; a code only decides whether that one schedule fails or stays pending. An event store that
//! cannot be written is found in the same way: the batch succeeds without it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::audit_event::{EventContext, EventId};
use crate::domain::flag::FlagId;
use crate::domain::schedule::ScheduleId;
use crate::error::{StoreError, chain};
use crate::ports::{
    Batch, BatchFailure, BatchRequest, Claim, Decide, DuePosition, DueStore, EventJournal, FailureKind,
    TickId,
};

/// Schedules in one batch, at most: it bounds memory and time, whatever is due.
pub(super) const BATCH: u16 = 1_000;
/// A whole batch may take this long, longer than the server's statement timeout for one statement of it.
const BATCH_LIMIT: Duration = Duration::from_secs(10);
/// A batch that was made smaller may take this long.
const PART_LIMIT: Duration = Duration::from_secs(3);
/// A rejected batch is divided by this: the offender is found in a logarithmic number of attempts.
const DIVISOR: u16 = 2;
/// A batch that took too long is divided by this: few attempts, because each of them takes long.
const DIVISOR_IF_SLOW: u16 = 32;
/// Before a batch is repeated that was in a deadlock: the other one must get its lock first, or they meet again.
const CONFLICT_PAUSE: Duration = Duration::from_millis(100);

/// Whether the outbox can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outbox {
    /// Nothing was written yet.
    Untried,
    /// Yes: something was.
    Works,
    /// No, for this reason: a batch that failed was stored without it.
    Broken(String),
}

/// How the next attempt differs from the usual.
#[derive(Debug, Clone, Default)]
struct Attempt {
    /// Without the outbox, to see whether that was to blame for this error.
    without_outbox: Option<String>,
    /// This schedule fails, for this reason.
    reject: Option<(ScheduleId, String)>,
    /// The same batch was repeated already.
    repeated: bool,
}

/// The batches of one tick, oldest first, in passes over all that is due.
pub(super) struct Batches<'a> {
    store: Arc<dyn DueStore>,
    tick: TickId,
    context: &'a EventContext,
    decide: &'a Decide,
    journal: &'a dyn EventJournal,
    deadline: Instant,
    after: Option<DuePosition>,
    skip: Vec<FlagId>,
    /// Regions in which a batch failed, the outermost first: up to their ends, batches have this size.
    divided: Vec<(DuePosition, u16)>,
    outbox: Outbox,
    attempt: Attempt,
    /// Whether something was stored, or could have been: what fails now does so for reasons of its own.
    is_sound: bool,
    /// The error of the first flag that was left alone.
    first_error: Option<StoreError>,
}

impl<'a> Batches<'a> {
    pub(super) fn new(
        store: Arc<dyn DueStore>,
        context: &'a EventContext,
        decide: &'a Decide,
        journal: &'a dyn EventJournal,
        deadline: Instant,
    ) -> Self {
        Self {
            store,
            tick: TickId((EventId::new().0.as_u128() & 0x7fff_ffff) as i32),
            context,
            decide,
            journal,
            deadline,
            after: None,
            skip: Vec::new(),
            divided: Vec::new(),
            outbox: Outbox::Untried,
            attempt: Attempt::default(),
            is_sound: false,
            first_error: None,
        }
    }

    /// Whether the last batch has reached the end of what is due: the next one begins another pass.
    pub(super) fn is_pass_over(&self) -> bool {
        self.after.is_none()
    }

    /// How many flags this tick leaves alone because of errors.
    pub(super) fn flags_left(&self) -> u64 {
        self.skip.len() as u64
    }

    /// The error of the first of them.
    pub(super) fn first_error(&self) -> Option<&StoreError> {
        self.first_error.as_ref()
    }

    /// The same, for good.
    pub(super) fn into_first_error(self) -> Option<StoreError> {
        self.first_error
    }

    /// Whether another tick may hold what this one cannot get at.
    pub(super) async fn is_another_tick_working(&self) -> Result<bool, StoreError> {
        self.store.is_another_tick_working(self.tick).await
    }

    /// Tries one batch. `Ok(None)` when it failed and something else is to be tried.
    ///
    /// # Errors
    /// What keeps every batch from being stored.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, StoreError> {
        let limit = self.divided.last().map_or(BATCH, |(_, size)| *size);
        let time = if limit < BATCH { PART_LIMIT } else { BATCH_LIMIT };
        let attempt = std::mem::take(&mut self.attempt);
        let direct = match (&self.outbox, &attempt.without_outbox) {
            (Outbox::Broken(reason), _) | (_, Some(reason)) => Some(reason.as_str()),
            (Outbox::Untried | Outbox::Works, None) => None,
        };
        let request = BatchRequest {
            tick: self.tick,
            after: self.after,
            limit,
            skip: &self.skip,
            direct,
            reject: attempt.reject.as_ref(),
            context: self.context,
            deadline: self.deadline.min(Instant::now() + time),
        };
        match self.store.apply_batch(&request, self.decide, self.journal).await {
            Ok(batch) => {
                if !batch.ended.is_empty() {
                    self.is_sound = true;
                    match attempt.without_outbox {
                        Some(reason) => self.outbox = Outbox::Broken(reason),
                        None if self.outbox == Outbox::Untried => self.outbox = Outbox::Works,
                        None => {}
                    }
                }
                self.pass(batch.reached);
                Ok(Some(batch))
            }
            Err(failure) => self.failed(failure, attempt).await.map(|()| None),
        }
    }

    /// A batch has come this far; `None` when nothing due lies beyond.
    fn pass(&mut self, reached: Option<DuePosition>) {
        self.after = reached;
        while self.divided.last().is_some_and(|(end, _)| reached.is_none_or(|reached| reached >= *end)) {
            self.divided.pop();
        }
    }

    async fn failed(&mut self, failure: BatchFailure, attempt: Attempt) -> Result<(), StoreError> {
        use FailureKind::{Conflict, Hindered, Locked, Lost, Rejected, TooSlow};

        let BatchFailure { error, kind, claim } = failure;
        if matches!(kind, Lost | Conflict) && !attempt.repeated {
            self.attempt = Attempt { repeated: true, ..attempt };
            if kind == Conflict {
                tokio::time::sleep(CONFLICT_PAUSE).await;
            }
            return Ok(());
        }
        // Without a claim it was about no flag.
        let (Some(claim), Lost | Conflict | TooSlow | Locked | Rejected | Hindered) = (claim, kind) else {
            return Err(error);
        };
        let is_one = claim.schedules <= 1;
        if matches!(kind, Locked | Rejected) && self.may_be_outbox(kind, is_one, &attempt) {
            self.attempt = Attempt { without_outbox: Some(chain(&error)), ..attempt };
            return Ok(());
        }
        if matches!(kind, Rejected | Hindered) && !self.is_sound {
            // If not even nothing can be stored, it is about no flag.
            let direct = !matches!(self.outbox, Outbox::Works);
            if self.store.check(direct, self.deadline.min(Instant::now() + PART_LIMIT)).await.is_err() {
                return Err(error);
            }
            self.is_sound = true;
        }
        if !is_one {
            let divisor = if matches!(kind, Rejected | Hindered) { DIVISOR } else { DIVISOR_IF_SLOW };
            self.divided.push((claim.end, claim.schedules.div_ceil(divisor)));
            return Ok(());
        }
        match claim.first {
            Some((_, schedule)) if kind == Rejected && attempt.reject.is_none() => {
                self.attempt = Attempt { reject: Some((schedule, error.reason())), ..Attempt::default() };
            }
            first => {
                // The database is there: it is this flag that it would not change.
                let error = if kind == Hindered { error } else { StoreError::Refused(error.into()) };
                self.leave(first.map(|(flag, _)| flag), claim, error);
            }
        }
        Ok(())
    }

    /// Whether to try the same batch without the outbox: the whole batch as long as nothing was stored, and what is left over
    /// of a divided one in the end.
    fn may_be_outbox(&self, kind: FailureKind, is_one: bool, attempt: &Attempt) -> bool {
        if attempt.without_outbox.is_some() {
            return false;
        }
        match self.outbox {
            Outbox::Untried => is_one || self.divided.is_empty(),
            Outbox::Works => is_one || kind == FailureKind::Locked,
            Outbox::Broken(_) => false,
        }
    }

    /// Leaves a flag to the next tick.
    fn leave(&mut self, flag: Option<FlagId>, claim: Claim, error: StoreError) {
        if let Some(flag) = flag {
            tracing::error!(flag_id = %flag.0, error = chain(&error), "a flag is left to the next tick");
            self.skip.push(flag);
        }
        self.first_error.get_or_insert(error);
        self.pass(Some(claim.end));
    }
}

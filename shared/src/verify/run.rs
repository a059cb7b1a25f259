//! One run: slice after slice, then the candidates once more.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::compare;
use super::event::{Digest, TrailEvent, digest_of_text};
use super::report::{Different, Findings, Reason, Unknown, Verification};
use super::slice::{Claim, Cursor, Slice, Verdict};
use super::verifier::{Verifier, VerifyError};
use super::window::Window;
use crate::domain::schedule::{Schedule, ScheduleId};
use crate::domain::time::Timestamp;
use crate::domain::time_range::TimeRange;
use crate::ports::store_error::StoreError;
use crate::ports::trail_reader::ReadError;
use crate::ports::transitions::{Position, TransitionKey};

/// Longest slice, so that a run that is out of time has got somewhere.
const MAX_SLICE_MS: i64 = 6 * 60 * 60 * 1000;
/// Most keys and hashes that are kept for recognising copies: some ten megabytes each.
const MAX_KEPT: usize = 200_000;
/// Rows that are read at once by id.
pub(super) const ROWS: usize = 500;

pub(super) struct Run<'a> {
    pub(super) verifier: &'a Verifier,
    window: Window,
    pub(super) now: Timestamp,
    /// When the last slice must be done; the rest is for the candidates.
    slices_until: Instant,
    until: Instant,
    pub(super) findings: Findings,
    pub(super) undelivered: Vec<TransitionKey>,
    pub(super) candidates: Vec<Claim>,
    /// Transitions with an event among the strays, be it right or wrong.
    pub(super) matched: HashSet<TransitionKey>,
    /// Strays and unreadable events, so that their copies are not further findings.
    judged: HashSet<Digest>,
}

/// Whether the time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Done,
    OutOfTime,
}

impl<'a> Run<'a> {
    fn new(verifier: &'a Verifier, window: Window, now: Timestamp, deadline: Instant) -> Self {
        let started = Instant::now();
        let left = deadline.saturating_duration_since(started);
        Self {
            verifier,
            window,
            now,
            slices_until: started + left * 7 / 10,
            until: started + left * 19 / 20,
            findings: Findings::default(),
            undelivered: Vec::new(),
            candidates: Vec::new(),
            matched: HashSet::new(),
            judged: HashSet::new(),
        }
    }

    async fn verify(mut self) -> Result<Verification, VerifyError> {
        self.undelivered = self.read_undelivered().await?;
        let start = self.window.resume;
        let mut cursor = Cursor { start, position: Position::start(start), carried: Vec::new() };
        // Everything before this time is verified, except for the candidates.
        let mut confirmed = start;
        let mut resume = None;
        while cursor.start < self.window.range.to {
            let begin = cursor.start;
            if self.next_slice(&mut cursor).await? == Progress::OutOfTime {
                resume = Some(begin);
                break;
            }
            if self.candidates.len() >= self.verifier.limits.candidates {
                if self.confirm().await? == Progress::OutOfTime {
                    resume = Some(confirmed);
                    break;
                }
                confirmed = cursor.start;
            }
        }
        if self.confirm().await? == Progress::OutOfTime {
            resume = Some(confirmed);
        }
        Ok(Verification::new(self.window.range, resume, self.findings))
    }

    async fn next_slice(&mut self, cursor: &mut Cursor) -> Result<Progress, VerifyError> {
        let Some((range, mut slice)) = self.read_slice(cursor).await? else { return Ok(Progress::OutOfTime) };
        let mut findings = Findings { checked: slice.len() as u64, ..Findings::default() };
        if self.read_log(range, &mut slice, &mut findings, Strays::Judge).await? == Progress::OutOfTime {
            return Ok(Progress::OutOfTime);
        }
        for claim in slice.into_unmatched() {
            if self.undelivered.binary_search(&claim.key).is_ok() {
                findings.undelivered += 1;
            } else {
                self.candidates.push(claim);
            }
        }
        self.findings.add(findings);
        Ok(Progress::Done)
    }

    /// The next slice; `None` if there is no time for it.
    async fn read_slice(&self, cursor: &mut Cursor) -> Result<Option<(TimeRange, Slice)>, StoreError> {
        let limits = &self.verifier.limits;
        let from = cursor.start;
        let mut to = self.window.range.to.min(from.plus_millis(MAX_SLICE_MS));
        let mut claims = std::mem::take(&mut cursor.carried);
        // All transitions of a millisecond are in one slice.
        let is_full = |claims: &[Claim]| {
            claims.len() >= limits.slice && claims.last().is_some_and(|last| last.occurred_at > from)
        };
        while !is_full(&claims) {
            if Instant::now() >= self.slices_until {
                return Ok(None);
            }
            let page = self.verifier.transitions.page(&cursor.position, to, limits.page).await?;
            let is_last = page.len() < usize::from(limits.page);
            claims.extend(page.iter().map(Claim::of));
            if let Some(last) = page.into_iter().next_back() {
                cursor.position = last.position;
            }
            if is_last {
                break;
            }
        }
        if is_full(&claims) {
            // There may be more of the last millisecond.
            to = claims.last().map_or(to, |last| last.occurred_at);
            cursor.carried = claims.split_off(claims.partition_point(|claim| claim.occurred_at < to));
        }
        cursor.start = to;
        Ok(Some((TimeRange { from, to }, Slice::new(claims))))
    }

    /// Judges all events of a range by the claims of a slice.
    pub(super) async fn read_log(
        &mut self,
        range: TimeRange,
        slice: &mut Slice,
        findings: &mut Findings,
        strays: Strays,
    ) -> Result<Progress, VerifyError> {
        let until = if strays == Strays::Judge { self.slices_until } else { self.until };
        let mut token: Option<String> = None;
        loop {
            if Instant::now() >= until {
                return Ok(Progress::OutOfTime);
            }
            let page = match self.verifier.trail.page(range, token.as_deref(), until).await {
                Ok(page) => page,
                Err(ReadError::OutOfTime) => return Ok(Progress::OutOfTime),
                Err(error) => return Err(VerifyError::Trail(error)),
            };
            if strays == Strays::Judge {
                findings.events += page.messages.len() as u64;
            }
            self.judge(&page.messages, slice, findings, strays).await?;
            // The same token again would be an endless loop.
            if page.next.is_none() || page.next == token {
                return Ok(Progress::Done);
            }
            token = page.next;
        }
    }

    async fn judge(
        &mut self,
        messages: &[String],
        slice: &mut Slice,
        findings: &mut Findings,
        strays: Strays,
    ) -> Result<(), StoreError> {
        let mut left = Vec::new();
        for message in messages {
            let Some(event) = TrailEvent::parse(message) else {
                if strays == Strays::Judge {
                    self.report(message, findings, |findings| {
                        findings.add_unknown(Unknown::unreadable(message));
                    });
                }
                continue;
            };
            if strays == Strays::Ignore && !slice.has(event.key()) {
                continue;
            }
            match slice.judge(&event) {
                Verdict::Right => {}
                Verdict::Copy => findings.duplicates += 1,
                Verdict::Second => self.add_second(message, &event, findings),
                Verdict::Stray => left.push((event, message.as_str())),
            }
        }
        for strays in left.chunks(ROWS) {
            let rows = self.rows(strays.iter().map(|(event, _)| event.schedule_id)).await?;
            for (event, message) in strays {
                self.judge_stray(event, message, rows.get(&event.schedule_id), slice, findings);
            }
        }
        Ok(())
    }

    fn judge_stray(
        &mut self,
        event: &TrailEvent,
        message: &str,
        row: Option<&Schedule>,
        slice: &mut Slice,
        findings: &mut Findings,
    ) {
        let Some(row) = row else {
            let unknown = Unknown::event(event, Reason::NoSchedule);
            self.report(message, findings, |findings| findings.add_unknown(unknown));
            return;
        };
        let fields = compare::differences(event, row);
        if self.matched.len() < MAX_KEPT {
            self.matched.insert(event.key());
        }
        if fields.is_empty() {
            let verdict = slice.accept(event);
            if verdict == Verdict::Second {
                self.add_second(message, event, findings);
            } else if !self.is_new(message) || verdict == Verdict::Copy {
                findings.duplicates += 1;
            }
            return;
        }
        slice.contradict(event.key());
        let different = Different::new(event, row, &fields);
        self.report(message, findings, |findings| findings.add_different(different));
    }

    fn add_second(&mut self, message: &str, event: &TrailEvent, findings: &mut Findings) {
        let unknown = Unknown::event(event, Reason::SecondEvent);
        self.report(message, findings, |findings| findings.add_unknown(unknown));
    }

    /// Adds a finding about an event, or counts a further copy of that event.
    fn report(&mut self, message: &str, findings: &mut Findings, add: impl FnOnce(&mut Findings)) {
        if self.is_new(message) { add(findings) } else { findings.duplicates += 1 }
    }

    /// Whether it is not a copy of an event that was judged before.
    fn is_new(&mut self, message: &str) -> bool {
        let digest = digest_of_text(message);
        if self.judged.len() < MAX_KEPT { self.judged.insert(digest) } else { !self.judged.contains(&digest) }
    }

    pub(super) async fn rows(
        &self,
        ids: impl Iterator<Item = ScheduleId>,
    ) -> Result<HashMap<ScheduleId, Schedule>, StoreError> {
        let mut ids: Vec<ScheduleId> = ids.collect();
        ids.sort_unstable();
        ids.dedup();
        let rows = self.verifier.transitions.find(&ids).await?;
        Ok(rows.into_iter().map(|row| (row.id, row)).collect())
    }
}

/// What to do with events without a claim in the slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strays {
    Judge,
    Ignore,
}

impl Verifier {
    /// Verifies as much of the window as there is time for; the invocation ends at `deadline`.
    ///
    /// # Errors
    /// [`VerifyError`] when a side cannot be read.
    pub async fn verify(
        &self,
        window: Window,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Verification, VerifyError> {
        Run::new(self, window, now, deadline).verify().await
    }
}

//! Looks again for the events of candidates: transitions without an event in their slice.

use super::compare;
use super::report::{Findings, Missing};
use super::run::{Progress, ROWS, Run, Strays};
use super::slice::{Claim, Slice};
use super::verifier::VerifyError;
use crate::domain::time::Timestamp;
use crate::domain::time_range::TimeRange;
use crate::ports::transitions::TransitionKey;

/// CloudWatch Logs refuses older timestamps; an hour less, for clocks that differ.
const REFUSED_AGE_MS: i64 = (14 * 24 - 1) * 60 * 60 * 1000;
/// Most ranges in which candidates are looked for again.
const MAX_RANGES: i64 = 100;
/// Closer candidates share a range.
const MIN_GAP_MS: i64 = 1_000;
/// Most undelivered events: a sorted vector of keys of 36 MB.
const MAX_UNDELIVERED: usize = 1_500_000;
const UNDELIVERED_PAGE: u16 = 10_000;

impl Run<'_> {
    /// Looks once more for the events of the candidates; those without one are missing.
    pub(super) async fn confirm(&mut self) -> Result<Progress, VerifyError> {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.retain(|candidate| !self.matched.contains(&candidate.key));
        if candidates.is_empty() {
            return Ok(Progress::Done);
        }
        tokio::time::sleep(self.verifier.limits.settle).await;
        self.undelivered = self.read_undelivered().await?;
        let count = candidates.len();
        candidates.retain(|candidate| self.undelivered.binary_search(&candidate.key).is_err());
        let mut findings = Findings { undelivered: (count - candidates.len()) as u64, ..Findings::default() };
        let ranges = ranges(&mut candidates, self.now);
        let mut slice = Slice::new(candidates);
        for range in ranges {
            if self.read_log(range, &mut slice, &mut findings, Strays::Ignore).await? == Progress::OutOfTime {
                return Ok(Progress::OutOfTime);
            }
        }
        let unmatched: Vec<Claim> = slice.into_unmatched().collect();
        for claims in unmatched.chunks(ROWS) {
            let rows = self.rows(claims.iter().map(|claim| claim.key.0)).await?;
            for claim in claims {
                // Unless the row has changed since, or went with its flag.
                if let Some(row) = rows.get(&claim.key.0)
                    && compare::claims(row, claim.key.1)
                    && Claim::digest_of(row, claim.key.1) == claim.digest
                {
                    findings.add_missing(Missing {
                        schedule_id: claim.key.0,
                        event_type: claim.key.1,
                        occurred_at: claim.occurred_at,
                        flag_key: row.flag_key.clone(),
                        environment: row.environment.clone(),
                    });
                }
            }
        }
        self.findings.add(findings);
        Ok(Progress::Done)
    }

    pub(super) async fn read_undelivered(&self) -> Result<Vec<TransitionKey>, VerifyError> {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = self.verifier.transitions.undelivered(after, UNDELIVERED_PAGE).await?;
            keys.extend(page.iter().filter_map(|event| event.key));
            if keys.len() > MAX_UNDELIVERED {
                return Err(VerifyError::TooManyUndelivered(MAX_UNDELIVERED));
            }
            if page.len() < usize::from(UNDELIVERED_PAGE) {
                keys.sort_unstable();
                return Ok(keys);
            }
            after = page.last().map(|event| event.event_id);
        }
    }
}

/// Where the events of candidates may be: at their own time; and if that is too old for the log, at any time since it was.
fn ranges(candidates: &mut [Claim], now: Timestamp) -> Vec<TimeRange> {
    candidates.sort_unstable_by_key(|candidate| candidate.occurred_at);
    let (Some(first), Some(last)) = (candidates.first(), candidates.last()) else { return Vec::new() };
    let span = last.occurred_at.to_millis() - first.occurred_at.to_millis();
    let gap = MIN_GAP_MS.max(span / MAX_RANGES);
    let mut ranges: Vec<TimeRange> = Vec::new();
    for candidate in candidates.iter() {
        let (from, to) = (candidate.occurred_at, candidate.occurred_at.plus_millis(1));
        match ranges.last_mut() {
            Some(range) if from.to_millis() - range.to.to_millis() <= gap => range.to = to,
            _ => ranges.push(TimeRange { from, to }),
        }
    }
    let refused = TimeRange { from: first.occurred_at.plus_millis(REFUSED_AGE_MS), to: now };
    if !refused.is_empty() {
        ranges.push(refused);
    }
    ranges
}

//! The transitions of a range of time, and which of them have an event so far. Pure.

use super::compare::{expected, implausible, is_ours};
use super::event::{Digest, TrailEvent, digest_of};
use crate::domain::audit_event::{EventId, EventType};
use crate::domain::schedule::Schedule;
use crate::domain::time::Timestamp;
use crate::ports::transitions::{Position, Transition, TransitionKey};

/// Where reading the rows has got to.
pub(super) struct Cursor {
    pub(super) start: Timestamp,
    pub(super) position: Position,
    /// Read, but part of the next slice.
    pub(super) carried: Vec<Claim>,
}

/// A transition that the database claims.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) key: TransitionKey,
    pub(super) occurred_at: Timestamp,
    /// Of the event that the row calls for; zeros if the row is incomplete, which no event has.
    pub(super) digest: Digest,
    /// Whether there must be an event.
    is_ours: bool,
    matched: Match,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    None,
    /// An event that contradicts the row.
    Wrong,
    Right(EventId, Digest),
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The event of its transition.
    Right,
    /// Another copy of that event.
    Copy,
    /// A second event of a transition that has its event.
    Second,
    /// To be compared with its row.
    Stray,
}

impl Claim {
    pub(super) fn of(transition: &Transition) -> Self {
        let Transition { event_type, position, schedule } = transition;
        Self {
            key: (schedule.id, *event_type),
            occurred_at: Timestamp::from_postgres_micros(position.occurred_at.0),
            digest: Self::digest_of(schedule, *event_type),
            is_ours: is_ours(schedule, *event_type),
            matched: Match::None,
        }
    }

    pub(super) fn digest_of(schedule: &Schedule, event_type: EventType) -> Digest {
        expected(schedule, event_type).map(|known| digest_of(&known)).unwrap_or_default()
    }
}

/// Sorted by key, in a vector: a hash table of a million would need twice the memory.
#[derive(Debug, Default)]
pub(super) struct Slice(Vec<Claim>);

impl Slice {
    pub(super) fn new(mut claims: Vec<Claim>) -> Self {
        claims.sort_unstable_by_key(|claim| claim.key);
        Self(claims)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has(&self, key: TransitionKey) -> bool {
        self.0.binary_search_by_key(&key, |claim| claim.key).is_ok()
    }

    fn claim(&mut self, key: TransitionKey) -> Option<&mut Claim> {
        let at = self.0.binary_search_by_key(&key, |claim| claim.key).ok()?;
        self.0.get_mut(at)
    }

    /// Judges an event by the digest alone.
    pub(super) fn judge(&mut self, event: &TrailEvent) -> Verdict {
        match self.claim(event.key()) {
            Some(claim) if claim.digest == event.digest() && is_plausible(event) => self.accept(event),
            _ => Verdict::Stray,
        }
    }

    /// Takes an event that says what the row says.
    pub(super) fn accept(&mut self, event: &TrailEvent) -> Verdict {
        let Some(claim) = self.claim(event.key()) else { return Verdict::Right };
        let beyond = event.digest_beyond();
        match claim.matched {
            Match::Right(id, known) if id == event.event_id && known == beyond => Verdict::Copy,
            Match::Right(..) => Verdict::Second,
            Match::None | Match::Wrong => {
                claim.matched = Match::Right(event.event_id, beyond);
                Verdict::Right
            }
        }
    }

    /// Takes note of an event that contradicts the row: the transition is not missing.
    pub(super) fn contradict(&mut self, key: TransitionKey) {
        if let Some(claim) = self.claim(key)
            && claim.matched == Match::None
        {
            claim.matched = Match::Wrong;
        }
    }

    /// The claims that must have an event, and have none.
    pub(super) fn into_unmatched(self) -> impl Iterator<Item = Claim> {
        self.0.into_iter().filter(|claim| claim.is_ours && claim.matched == Match::None)
    }
}

/// Whether what the row does not know can be true.
fn is_plausible(event: &TrailEvent) -> bool {
    let updates = event.known.get("schedule.updates").cloned().unwrap_or_default();
    implausible(event, &updates.into()).is_empty()
}

//! A memory for the last events that were delivered.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::domain::audit_event::EventId;
use crate::ports::audit_log::LogEvent;

/// Those of ten full deliveries, in less than a megabyte.
const CAPACITY: usize = 10_000;

/// What an event says, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Digest {
    pub(super) fn of(event: &LogEvent) -> Self {
        let mut hasher = DefaultHasher::new();
        event.message.hash(&mut hasher);
        Self(hasher.finish())
    }
}

#[derive(Debug, Default)]
pub(super) struct Recent {
    events: HashMap<EventId, Digest>,
    /// Oldest first.
    order: VecDeque<EventId>,
}

impl Recent {
    /// Another event with the same id is not this one.
    pub(super) fn contains(&self, id: EventId, digest: Digest) -> bool {
        self.events.get(&id) == Some(&digest)
    }

    pub(super) fn insert(&mut self, id: EventId, digest: Digest) {
        if self.events.insert(id, digest).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.events.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_events_and_forgets_the_oldest() {
        let ids: Vec<EventId> = (0..CAPACITY + 2).map(|_| EventId::new()).collect();
        let mut recent = Recent::default();

        ids[..2].iter().chain(&ids).for_each(|id| recent.insert(*id, Digest(1)));

        assert_eq!((recent.order.len(), recent.events.len()), (CAPACITY, CAPACITY));
        assert!(!recent.contains(ids[0], Digest(1)) && !recent.contains(ids[1], Digest(1)));
        assert!(recent.contains(ids[2], Digest(1)) && recent.contains(ids[CAPACITY + 1], Digest(1)));
        assert!(!recent.contains(ids[2], Digest(2)), "another event with this id");
    }
}

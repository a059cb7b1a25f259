//! A memory for the last events that were delivered.

use std::collections::{HashSet, VecDeque};

use crate::domain::audit_event::EventId;

/// Those of ten full deliveries, in less than a megabyte.
const CAPACITY: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Recent {
    ids: HashSet<EventId>,
    /// Oldest first.
    order: VecDeque<EventId>,
}

impl Recent {
    pub(super) fn contains(&self, id: EventId) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn extend(&mut self, ids: impl Iterator<Item = EventId>) {
        for id in ids.filter(|id| self.ids.insert(*id)) {
            self.order.push_back(id);
        }
        while self.order.len() > CAPACITY {
            if let Some(oldest) = self.order.pop_front() {
                self.ids.remove(&oldest);
            }
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

        recent.extend(ids[..2].iter().copied());
        recent.extend(ids.iter().copied());

        assert_eq!(recent.order.len(), CAPACITY);
        assert_eq!(recent.ids.len(), CAPACITY);
        assert!(!recent.contains(ids[0]) && !recent.contains(ids[1]));
        assert!(recent.contains(ids[2]) && recent.contains(ids[CAPACITY + 1]));
    }
}

//! What a tick waits for when nothing is due: the time of the next change.

use std::time::{Duration, Instant};

use crate::error::chain;
use crate::ports::due::{DueStore, NextDue};

/// After this time the next tick has certainly taken over: a minute, and what EventBridge and a cold start may be late.
pub const WATCH_TIME: Duration = Duration::from_secs(65);
/// Between two looks at what is planned: how late a tick notices what was created during it, a jump of the database's clock,
/// or that the database is back.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a tick waits for. `TICK_WATCH`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Watch {
    /// What is planned for the time until the next tick has taken over. With nothing planned, a tick ends at once.
    #[default]
    Planned,
    /// All that time, for what may yet be created.
    Always,
    /// Nothing: changes happen with the first tick after their time.
    Off,
}

impl Watch {
    pub const ALL: [(&str, Self); 3] =
        [("planned", Self::Planned), ("always", Self::Always), ("off", Self::Off)];

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, watch)| watch)
    }
}

/// Waiting in one tick.
pub(super) struct Waiting {
    watch: Watch,
    ends: Instant,
    has_looked: bool,
}

/// When to apply again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    pub until: Instant,
    /// Until when nothing that is known now comes due.
    pub free_until: Instant,
}

impl Waiting {
    /// At most until `latest`.
    pub(super) fn new(watch: Watch, latest: Instant) -> Self {
        Self { watch, ends: latest.min(Instant::now() + WATCH_TIME), has_looked: false }
    }

    /// `None` when there is nothing to wait for. What came due after `pass_began` may have been missed by that pass, so there is
    /// no wait. If the database does not answer, a tick waits only if it did before. Cancels the look when the waiting ends.
    pub(super) async fn next(&mut self, store: &dyn DueStore, pass_began: Instant) -> Option<Pause> {
        if self.watch == Watch::Off || Instant::now() >= self.ends {
            return None;
        }
        let due = match tokio::time::timeout_at(self.ends.into(), store.next_due()).await {
            Err(_) => return None,
            Ok(Ok(NextDue { until_next, since_last })) => {
                let now = Instant::now();
                let is_missed = since_last.is_some_and(|ago| ago < now.duration_since(pass_began));
                let next = until_next.and_then(|left| now.checked_add(left));
                if is_missed { Some(now) } else { next.filter(|due| *due < self.ends) }
            }
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "what is due next could not be read");
                if !self.has_looked {
                    return None;
                }
                Some(self.ends)
            }
        };
        self.has_looked = true;
        if due.is_none() && self.watch == Watch::Planned {
            return None;
        }
        let free_until = due.unwrap_or(self.ends);
        Some(Pause { until: free_until.min(Instant::now() + LOOK_EVERY), free_until })
    }
}

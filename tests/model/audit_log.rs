//! An audit log in memory: it remembers what it took, and refuses in the ways of the real one.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use async_trait::async_trait;
use flag_schedules::ports::audit_log::{AuditLog, LogEvent, PutError};
use serde_json::Value;

/// What the log does with a batch.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// It takes it.
    #[default]
    Takes,
    /// It is not there.
    Down,
    /// It takes it, and the answer is lost.
    LosesAnswers,
    /// It takes all but the first event, which it refuses for its time.
    RefusesTheFirst,
    /// It takes batches of one event only.
    TakesSingles,
}

/// The log.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<(Mode, Vec<String>)>,
}

impl Memory {
    /// From now on.
    pub fn set(&self, mode: Mode) {
        self.state().0 = mode;
    }

    /// Forgets all events.
    pub fn clear(&self) {
        self.state().1.clear();
    }

    /// All events that arrived, copies included.
    pub fn events(&self) -> Vec<Value> {
        self.state().1.iter().map(|message| serde_json::from_str(message).unwrap()).collect()
    }

    fn state(&self) -> MutexGuard<'_, (Mode, Vec<String>)> {
        self.state.lock().unwrap()
    }
}

#[async_trait]
impl AuditLog for Memory {
    async fn put(&self, batch: &[LogEvent], _deadline: Instant) -> Result<Vec<usize>, PutError> {
        let (mode, events) = &mut *self.state();
        let mut take = |batch: &[LogEvent]| events.extend(batch.iter().map(|event| event.message.clone()));
        match mode {
            Mode::Takes => take(batch),
            Mode::Down => return Err(PutError::Unavailable("the log is down".into())),
            Mode::LosesAnswers => {
                take(batch);
                return Err(PutError::Ambiguous("the answer was lost".into()));
            }
            Mode::RefusesTheFirst => {
                take(&batch[1..]);
                return Ok(vec![0]);
            }
            Mode::TakesSingles if batch.len() > 1 => {
                return Err(PutError::Invalid("more than one event".into()));
            }
            Mode::TakesSingles => take(batch),
        }
        Ok(Vec::new())
    }
}

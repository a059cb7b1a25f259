//! The outbox and the log in memory, as the ports promise them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Instant;

use async_trait::async_trait;

use crate::domain::audit_event::{AuditEvent, EventContext, EventId, EventType};
use crate::domain::schedule::Schedule;
use crate::domain::time::Timestamp;
use crate::error::BoxError;
use crate::ports::audit_log::{AuditLog, LogEvent, PutError};
use crate::ports::clock::Clock;
use crate::ports::outbox::{
    AuditBacklog, AuditOutbox, Delivery, DeliveryCounts, DeliveryError, DeliveryOutcome, EventSender,
    OutboxRow, Selection, Unrenderable,
};
use crate::ports::store_error::StoreError;

/// A clock that stands still until it is set.
pub(super) struct SetClock(pub(super) Mutex<Timestamp>);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A row of the outbox in memory.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) id: EventId,
    pub(super) event_type: EventType,
    pub(super) context: EventContext,
    /// `None`: what the row holds cannot be read.
    pub(super) schedule: Option<Schedule>,
    pub(super) refused: bool,
    pub(super) dead: Option<String>,
    pub(super) old: bool,
}

/// The outbox.
#[derive(Default)]
pub(super) struct MemoryOutbox {
    pub(super) rows: Mutex<Vec<Row>>,
    pub(super) broken: Mutex<bool>,
}

#[async_trait]
impl AuditOutbox for MemoryOutbox {
    async fn deliver(
        &self,
        which: Selection<'_>,
        sender: &dyn EventSender,
        deadline: Instant,
    ) -> Result<Delivery, DeliveryError> {
        if *self.broken.lock().unwrap() {
            return Err(StoreError::Unavailable("gone".into()).into());
        }
        let held: Vec<Row> = {
            let rows = self.rows.lock().unwrap();
            let alive = rows.iter().filter(|row| row.dead.is_none());
            alive
                .filter(|row| row.old || EventType::OF_PROCESSOR.contains(&row.event_type))
                .filter(|row| !which.except.contains(&row.id))
                .take(which.limit.into())
                .cloned()
                .collect()
        };
        let event = |row: &Row| -> Result<AuditEvent, BoxError> {
            let schedule = row.schedule.as_ref().ok_or("missing field `id`")?;
            Ok(AuditEvent::of(row.id, row.event_type, row.context.clone(), schedule)?)
        };
        let out = held
            .iter()
            .map(|row| OutboxRow {
                event_id: row.id,
                use_time_of_sending: row.refused,
                event: event(row).map_err(|error| Unrenderable { error, raw: format!("{:?}", row.context) }),
            })
            .collect();
        let outcomes = sender.send(out, deadline).await;
        assert_eq!(outcomes.len(), held.len(), "one outcome for each row");
        let outcomes: Vec<_> = held.iter().map(|row| row.id).zip(outcomes).collect();
        self.store(&outcomes);
        let counts = DeliveryCounts::of(outcomes.iter().map(|(_, outcome)| outcome));
        Ok(Delivery { counts, unsettled: None })
    }

    async fn settle(
        &self,
        outcomes: &[(EventId, DeliveryOutcome)],
        _deadline: Instant,
    ) -> Result<(), StoreError> {
        if *self.broken.lock().unwrap() {
            return Err(StoreError::Unavailable("gone".into()));
        }
        self.store(outcomes);
        Ok(())
    }

    async fn backlog(&self) -> Result<AuditBacklog, StoreError> {
        Ok(AuditBacklog::default())
    }
}

impl MemoryOutbox {
    fn store(&self, outcomes: &[(EventId, DeliveryOutcome)]) {
        let mut rows = self.rows.lock().unwrap();
        for (id, outcome) in outcomes {
            let Some(at) = rows.iter().position(|row| row.id == *id) else { continue };
            match outcome {
                DeliveryOutcome::Delivered | DeliveryOutcome::DeliveredBefore => drop(rows.remove(at)),
                DeliveryOutcome::Kept => {}
                DeliveryOutcome::TimestampRejected => rows[at].refused = true,
                DeliveryOutcome::Dead(reason) => rows[at].dead = Some(reason.clone()),
            }
        }
    }
}

/// What the log does with a batch.
pub(super) type Script = Box<dyn FnMut(&[LogEvent]) -> Result<Vec<usize>, PutError> + Send>;

/// The log, as scripted.
pub(super) struct MemoryLog {
    pub(super) taken: Mutex<Vec<LogEvent>>,
    pub(super) calls: Mutex<VecDeque<usize>>,
    pub(super) script: Mutex<Script>,
}

#[async_trait]
impl AuditLog for MemoryLog {
    async fn put(&self, batch: &[LogEvent], _deadline: Instant) -> Result<Vec<usize>, PutError> {
        self.calls.lock().unwrap().push_back(batch.len());
        let rejected = self.script.lock().unwrap()(batch)?;
        let accepted = batch.iter().enumerate().filter(|(index, _)| !rejected.contains(index));
        self.taken.lock().unwrap().extend(accepted.map(|(_, event)| event.clone()));
        Ok(rejected)
    }
}

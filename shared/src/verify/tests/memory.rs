//! Both sides in memory, the log in small pages and out of order.

use std::sync::Mutex;
use std::time::Instant;

use async_trait::async_trait;

use crate::domain::audit_event::{AuditEvent, EventId, EventType};
use crate::domain::schedule::{Schedule, ScheduleId, Status, StoredStatus};
use crate::domain::time::{StoredMicros, Timestamp};
use crate::domain::time_range::TimeRange;
use crate::ports::store_error::StoreError;
use crate::ports::trail_reader::{ReadError, TrailPage, TrailReader};
use crate::ports::transitions::{Position, Transition, Transitions, UndeliveredEvent};

const LOG_PAGE: usize = 7;

#[derive(Debug, Default)]
pub struct Memory {
    pub rows: Vec<Schedule>,
    pub outbox: Vec<UndeliveredEvent>,
    /// Timestamp and message.
    pub log: Vec<(Timestamp, String)>,
    /// Events that can only be read after this many pages.
    pub not_visible_yet: Mutex<Vec<(usize, Timestamp, String)>>,
    pub pages: Mutex<usize>,
}

impl Memory {
    pub fn store(&mut self, event: &AuditEvent) {
        self.log.push((event.occurred_at, serde_json::to_string(event).unwrap()));
    }

    pub fn keep_in_outbox(&mut self, event: &AuditEvent) {
        let key = Some((event.schedule_id, event.event_type));
        self.outbox.push(UndeliveredEvent { event_id: event.event_id, key });
    }
}

fn claims(row: &Schedule) -> Vec<(EventType, Timestamp)> {
    let created = row.created_by.as_ref().and(row.created_at).map(|at| (EventType::Created, at));
    let ended = match row.status {
        StoredStatus::Known(Status::Applied) => row.applied_at.map(|at| (EventType::Applied, at)),
        StoredStatus::Known(Status::Failed) => row.failed_at.map(|at| (EventType::Failed, at)),
        StoredStatus::Known(Status::Cancelled) => row.cancelled_at.map(|at| (EventType::Cancelled, at)),
        _ => None,
    };
    created.into_iter().chain(ended).collect()
}

#[async_trait]
impl Transitions for Memory {
    async fn page(&self, after: &Position, to: Timestamp, limit: u16) -> Result<Vec<Transition>, StoreError> {
        let order = |position: &Position| (position.occurred_at, position.id, position.event_type);
        let mut all: Vec<Transition> = Vec::new();
        for row in &self.rows {
            for (event_type, at) in claims(row).into_iter().filter(|(_, at)| *at < to) {
                let occurred_at = StoredMicros::from_timestamp(at);
                let position = Position { occurred_at, id: row.id, event_type: event_type.as_str() };
                if order(&position) > order(after) {
                    all.push(Transition { event_type, position, schedule: row.clone() });
                }
            }
        }
        all.sort_by(|a, b| order(&a.position).cmp(&order(&b.position)));
        all.truncate(limit.into());
        Ok(all)
    }

    async fn find(&self, ids: &[ScheduleId]) -> Result<Vec<Schedule>, StoreError> {
        Ok(self.rows.iter().filter(|row| ids.contains(&row.id)).cloned().collect())
    }

    async fn undelivered(
        &self,
        after: Option<EventId>,
        limit: u16,
    ) -> Result<Vec<UndeliveredEvent>, StoreError> {
        let mut all: Vec<_> =
            self.outbox.iter().filter(|event| Some(event.event_id) > after).cloned().collect();
        all.sort_by_key(|event| event.event_id);
        all.truncate(limit.into());
        Ok(all)
    }
}

#[async_trait]
impl TrailReader for Memory {
    async fn page(&self, range: TimeRange, token: Option<&str>, _: Instant) -> Result<TrailPage, ReadError> {
        let mut pages = self.pages.lock().unwrap();
        *pages += 1;
        let late = self.not_visible_yet.lock().unwrap();
        let late = late.iter().filter(|(after, ..)| pages.ge(after)).map(|(_, at, message)| (at, message));
        let all = self.log.iter().map(|(at, message)| (at, message)).chain(late);
        let mut found: Vec<&String> =
            all.filter(|(at, _)| range.from <= **at && **at < range.to).map(|(_, message)| message).collect();
        found.reverse();
        // The first page is empty, as CloudWatch Logs' may be.
        let Some(token) = token else {
            return Ok(TrailPage { messages: Vec::new(), next: Some("0".to_owned()) });
        };
        let start: usize = token.parse().unwrap();
        let messages: Vec<String> = found.into_iter().skip(start).take(LOG_PAGE).cloned().collect();
        let next = (messages.len() == LOG_PAGE).then(|| (start + LOG_PAGE).to_string());
        Ok(TrailPage { messages, next })
    }
}

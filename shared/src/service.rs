//! Create, list and cancel: what an admin can do, in domain words.
//!
//! The service decides that a change has an audit event. It passes the event's draft to the store together with the
//! change, and tells the audit trail how the event is delivered.

use std::sync::Arc;

use crate::audit::AuditTrail;
use crate::domain::admin::Caller;
use crate::domain::audit_event::{EventDraft, EventType};
use crate::domain::flag::FlagAddress;
use crate::domain::schedule::{Cancellation, NewSchedule, Schedule, ScheduleId};
use crate::ports::schedules::{
    AcrossFlagsQuery, CommittedChange, CreateOutcome, EventRoute, Page, PageQuery, ScheduleError,
    ScheduleReader, ScheduleStore,
};

/// Creates and cancels schedules. Every change is audited.
pub struct ScheduleService {
    store: Arc<dyn ScheduleStore>,
    audit: Arc<AuditTrail>,
}

#[derive(Debug)]
pub enum Created {
    New(Schedule),
    /// An earlier request with the same idempotency key created this schedule.
    Replayed(Schedule),
}

impl ScheduleService {
    #[must_use]
    pub fn new(store: Arc<dyn ScheduleStore>, audit: Arc<AuditTrail>) -> Self {
        Self { store, audit }
    }

    /// Schedules a change of a flag; audited as `flag_schedule.created`. An idempotency key that this admin has used
    /// before for the same change of the same flag returns that schedule, and stores nothing.
    ///
    /// # Errors
    /// [`ScheduleError::NoSuchFlag`], [`ScheduleError::NotInTime`] by the database's clock,
    /// [`ScheduleError::KeyReused`], or the store's.
    pub async fn create(&self, caller: &Caller, schedule: &NewSchedule) -> Result<Created, ScheduleError> {
        let event = EventDraft::of_admin(EventType::Created, caller);
        let id = ScheduleId::generate();
        Ok(match self.store.create(id, schedule, &event, &*self.audit).await? {
            CreateOutcome::Created(stored) => Created::New(self.record(caller, &event, *stored)),
            CreateOutcome::Replayed(schedule) => Created::Replayed(*schedule),
        })
    }

    /// Cancels a pending schedule; audited as `flag_schedule.cancelled`.
    ///
    /// # Errors
    /// [`ScheduleError::NoSuchFlag`], [`ScheduleError::NoSuchSchedule`], [`ScheduleError::NotPending`] with the
    /// schedule's current state, or the store's.
    pub async fn cancel(
        &self,
        caller: &Caller,
        cancellation: &Cancellation,
    ) -> Result<Schedule, ScheduleError> {
        let event = EventDraft::of_admin(EventType::Cancelled, caller);
        let stored = self.store.cancel(cancellation, &event, &*self.audit).await?;
        Ok(self.record(caller, &event, *stored))
    }

    /// Queues the event of a committed change for the delivery after the response. The log line is what a doubtful event
    /// or row is compared with: with rights to the database or to the audit log group alone, nobody can write one.
    fn record(&self, caller: &Caller, event: &EventDraft, stored: CommittedChange) -> Schedule {
        tracing::info!(
            request_id = caller.call.request_id,
            event_type = event.event_type.as_str(),
            schedule_id = %stored.schedule.id,
            event_id = %event.id.0,
            "the change was committed"
        );
        match stored.route {
            EventRoute::Outbox => {
                // What cannot be completed from memory cannot be from its row: the sweep finds out, and says so.
                let _ = event.complete(&stored.schedule).map(|event| self.audit.enqueue_stored_event(event));
            }
            EventRoute::Direct(event) => self.audit.enqueue_direct_events(vec![*event]),
        }
        stored.schedule
    }
}

/// One page of a flag's schedules. Reads are not audited.
///
/// # Errors
/// [`ScheduleError::NoSuchFlag`], or the store's.
pub async fn list(
    store: &dyn ScheduleReader,
    flag: &FlagAddress,
    query: &PageQuery,
) -> Result<Page, ScheduleError> {
    store.list(flag, query).await?.ok_or(ScheduleError::NoSuchFlag)
}

/// One schedule of a flag.
///
/// # Errors
/// [`ScheduleError::NoSuchFlag`], [`ScheduleError::NoSuchSchedule`], or the store's.
pub async fn find(
    store: &dyn ScheduleReader,
    flag: &FlagAddress,
    id: ScheduleId,
) -> Result<Schedule, ScheduleError> {
    store.find(flag, id).await
}

/// One page of the schedules of all flags of an environment.
///
/// # Errors
/// The store's.
pub async fn list_across_flags(
    store: &dyn ScheduleReader,
    query: &AcrossFlagsQuery,
) -> Result<Page, ScheduleError> {
    Ok(store.list_across_flags(query).await?)
}

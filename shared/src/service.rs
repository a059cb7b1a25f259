//! Create, list, cancel: what an admin can do, in domain words.
//!
//! The service alone decides that there is an audit event. It hands the event to the store with the change, and tells
//! the audit trail where the store has put it.

use std::sync::Arc;

use uuid::Uuid;

use crate::audit::AuditTrail;
use crate::domain::admin::Caller;
use crate::domain::audit_event::{EventContext, EventId};
use crate::domain::flag::FlagAddress;
use crate::domain::schedule::{IdempotencyKey, NewSchedule, Schedule, ScheduleId};
use crate::domain::step::{
    Cancellation, Cancelled, Created, Creation, EventRoute, Page, PageQuery, Recorded,
};
use crate::error::ServiceError;
use crate::ports::ScheduleStore;

/// What a create came to.
#[derive(Debug)]
pub enum Creating {
    /// A new schedule.
    Created(Schedule),
    /// The schedule that an earlier request with the same idempotency key has created.
    Replayed(Schedule),
}

/// What an admin can do with schedules.
pub struct ScheduleService {
    store: Arc<dyn ScheduleStore>,
    audit: Arc<AuditTrail>,
}

impl ScheduleService {
    /// A service over this store, whose events go to this trail.
    #[must_use]
    pub fn new(store: Arc<dyn ScheduleStore>, audit: Arc<AuditTrail>) -> Self {
        Self { store, audit }
    }

    /// Schedules a change of a flag. Audited as `flag_schedule.created`. With an idempotency key that this admin has used
    /// before for the same change of the same flag, it is that schedule that comes back, and nothing is stored.
    ///
    /// # Errors
    /// [`ServiceError::NoSuchFlag`], [`ServiceError::NotInTime`] by the database's clock, [`ServiceError::KeyReused`],
    /// or the store's.
    pub async fn create(
        &self,
        caller: &Caller,
        flag: FlagAddress,
        schedule: NewSchedule,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<Creating, ServiceError> {
        let creation = Creation {
            id: ScheduleId(Uuid::now_v7()),
            flag,
            schedule,
            created_by: caller.admin.user_id.clone(),
            idempotency_key,
            event_id: EventId::new(),
            context: EventContext::of_admin(caller),
        };
        match self.store.create(&creation, &*self.audit).await? {
            Created::Stored(recorded) => Ok(Creating::Created(self.committed(creation.event_id, *recorded))),
            Created::Replayed(schedule) => Ok(Creating::Replayed(*schedule)),
            Created::KeyReused => Err(ServiceError::KeyReused),
            Created::NoSuchFlag => Err(ServiceError::NoSuchFlag),
            Created::NotInTime { database_now } => Err(ServiceError::NotInTime { database_now }),
        }
    }

    /// One page of a flag's schedules. Not audited.
    ///
    /// # Errors
    /// [`ServiceError::NoSuchFlag`], or the store's.
    pub async fn list(&self, flag: &FlagAddress, query: &PageQuery) -> Result<Page, ServiceError> {
        self.store.list(flag, query).await?.ok_or(ServiceError::NoSuchFlag)
    }

    /// Cancels a pending schedule. Audited as `flag_schedule.cancelled`.
    ///
    /// # Errors
    /// [`ServiceError::NoSuchFlag`], [`ServiceError::NoSuchSchedule`], [`ServiceError::NotPending`] with the schedule
    /// as it now stands, or the store's.
    pub async fn cancel(
        &self,
        caller: &Caller,
        flag: FlagAddress,
        id: ScheduleId,
        reason: Option<String>,
    ) -> Result<Schedule, ServiceError> {
        let cancellation = Cancellation {
            id,
            flag,
            cancelled_by: caller.admin.user_id.clone(),
            reason,
            event_id: EventId::new(),
            context: EventContext::of_admin(caller),
        };
        match self.store.cancel(&cancellation, &*self.audit).await? {
            Cancelled::Stored(recorded) => Ok(self.committed(cancellation.event_id, *recorded)),
            Cancelled::NoSuchFlag => Err(ServiceError::NoSuchFlag),
            Cancelled::NoSuchSchedule => Err(ServiceError::NoSuchSchedule),
            Cancelled::NotPending(schedule) => Err(ServiceError::NotPending(schedule)),
        }
    }
    /// Tells the audit trail where the event of a committed change is.
    fn committed(&self, event_id: EventId, recorded: Recorded) -> Schedule {
        match recorded.event {
            EventRoute::Outbox => self.audit.written(event_id),
            EventRoute::Direct(event) => self.audit.send_directly(vec![*event]),
        }
        recorded.schedule
    }
}

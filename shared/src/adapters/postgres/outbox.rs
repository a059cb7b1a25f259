//! [`AuditOutbox`] on PostgreSQL.

use std::time::Instant;

use async_trait::async_trait;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Postgres;
use super::connection::within;
use super::held_events::{DELETE_HELD, Deadlines, Sent, hold_and_send};
use super::query_error::QueryError;
use super::retry::STATEMENT_LIMIT;
use super::rows::{Place, duration, field, unsigned};
use super::session::{Param, Params, Query};
use crate::domain::audit_event::EventId;
use crate::ports::outbox::{
    AuditBacklog, AuditOutbox, Delivery, DeliveryCounts, DeliveryError, DeliveryOutcome, EventSender,
    Selection,
};
use crate::ports::store_error::StoreError;

const DELETE: &str = include_str!("sql/delete_events.sql");
const MARK: &str = include_str!("sql/mark_events.sql");
const COUNT: &str = include_str!("sql/count_events.sql");

#[async_trait]
impl AuditOutbox for Postgres {
    async fn deliver(
        &self,
        which: Selection<'_>,
        sender: &dyn EventSender,
        deadline: Instant,
    ) -> Result<Delivery, DeliveryError> {
        let deadlines = Deadlines::before(deadline);
        let mut client = self.connections.get(deadlines.sending).await?;
        let mut undeletable = Vec::new();
        let result = hold_and_send(&mut client, which, sender, deadlines, &mut undeletable).await;
        let finishing = self.connections.release(client, result, "delivering audit events");
        let Ok(finished) = within(deadlines.giving_up, finishing).await else {
            // Dropping the future dropped the connection.
            return Err(
                StoreError::Unavailable("delivering audit events took longer than it may".into()).into()
            );
        };
        match finished {
            Ok(Sent { outcomes, is_deleted }) => {
                let settled = if is_deleted { Ok(()) } else { self.settle(&outcomes, deadline).await };
                let counts = DeliveryCounts::of(outcomes.iter().map(|(_, outcome)| outcome));
                Ok(Delivery { counts, unsettled: settled.err() })
            }
            Err(error) => {
                if undeletable.len() == 1 {
                    self.check_deletion(deadlines.sending).await?;
                }
                Err(DeliveryError { error: error.into(), undeletable })
            }
        }
    }

    async fn settle(
        &self,
        outcomes: &[(EventId, DeliveryOutcome)],
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let Deadlines { settling, giving_up, .. } = Deadlines::before(deadline);
        let until = settling.min(Instant::now() + STATEMENT_LIMIT);
        let settling = async {
            let Err(error) = self.settle_together(outcomes, until).await else { return Ok(()) };
            if outcomes.len() == 1 {
                return Err(error);
            }
            let mut result = Ok(());
            for outcome in outcomes {
                if Instant::now() >= until {
                    return Err(error);
                }
                result = result.and(self.settle_together(std::slice::from_ref(outcome), until).await);
            }
            result
        };
        match within(giving_up, settling).await {
            Ok(settled) => Ok(settled?),
            Err(()) => Err(StoreError::Unavailable("storing the outcome of a delivery took too long".into())),
        }
    }

    async fn backlog(&self) -> Result<AuditBacklog, StoreError> {
        let rows = self.connections.query(Query::Unnamed(COUNT), &[]).await?;
        let Some(row) = rows.first() else { return Ok(AuditBacklog::default()) };
        Ok(AuditBacklog {
            count: unsigned(field(row, "undelivered")?),
            oldest_age: duration(field(row, "oldest_age_seconds")?),
            dead: unsigned(field(row, "dead")?),
        })
    }
}

impl Postgres {
    /// Deletes nothing: an error is not about any row.
    async fn check_deletion(&self, until: Instant) -> Result<(), StoreError> {
        let nothing: &Params<'_> = &[(&Vec::<Place>::new(), Type::TID_ARRAY)];
        let until = until.min(Instant::now() + STATEMENT_LIMIT);
        self.connections.query_until(until, Query::Unnamed(DELETE_HELD), nothing, Ok).await?;
        Ok(())
    }

    async fn settle_together(
        &self,
        outcomes: &[(EventId, DeliveryOutcome)],
        until: Instant,
    ) -> Result<(), QueryError> {
        let settlement = Settlement::of(outcomes);
        if let Some(params) = settlement.deletions() {
            self.connections.query_until(until, Query::Unnamed(DELETE), &params, Ok).await?;
        }
        if let Some(params) = settlement.marks() {
            self.connections.query_until(until, Query::Unnamed(MARK), &params, Ok).await?;
        }
        Ok(())
    }
}

/// Outcomes by what is to be done about them.
#[derive(Default)]
struct Settlement<'a> {
    delivered: Vec<Uuid>,
    refused: Vec<Uuid>,
    dead: Vec<Uuid>,
    /// Of the dead ones, in their order.
    reasons: Vec<&'a str>,
}

impl<'a> Settlement<'a> {
    fn of(outcomes: &'a [(EventId, DeliveryOutcome)]) -> Self {
        let mut settlement = Self::default();
        for (EventId(id), outcome) in outcomes {
            match outcome {
                DeliveryOutcome::Delivered | DeliveryOutcome::DeliveredBefore => {
                    settlement.delivered.push(*id)
                }
                DeliveryOutcome::Kept => {}
                DeliveryOutcome::TimestampRejected => settlement.refused.push(*id),
                DeliveryOutcome::Dead(reason) => {
                    settlement.dead.push(*id);
                    settlement.reasons.push(reason);
                }
            }
        }
        settlement
    }

    /// The parameters of `delete_events`, unless there is nothing to delete.
    fn deletions(&self) -> Option<[Param<'_>; 1]> {
        (!self.delivered.is_empty()).then_some([(&self.delivered as _, Type::UUID_ARRAY)])
    }

    /// The parameters of `mark_events`, unless there is nothing to mark.
    fn marks(&self) -> Option<[Param<'_>; 3]> {
        let is_needed = !(self.refused.is_empty() && self.dead.is_empty());
        is_needed.then_some([
            (&self.refused as _, Type::UUID_ARRAY),
            (&self.dead as _, Type::UUID_ARRAY),
            (&self.reasons as _, Type::TEXT_ARRAY),
        ])
    }
}

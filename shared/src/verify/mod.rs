//! Compares the audit trail with the database: transitions without an event, events without a transition, and events that
//! contradict their row.
//!
//! **Bounded memory.** A window may hold millions of events, and neither side fits into memory. The window is cut into
//! [slices](slice): consecutive ranges of time with some ten thousand transitions each, chosen by reading the rows in the
//! order of time. Of a transition the slice keeps its key (schedule id and type) and a digest of the event that the row
//! calls for, rendered by the same [`AuditEvent`](crate::domain::audit_event::AuditEvent) as the event itself. Then the log
//! is read once, page by page, in no particular order: an event whose digest is that of its key is done. What remains is
//! small: rows are read again, by id, only for events that have no such digest ("strays"), and only these are compared field
//! by field ([`compare`]).
//!
//! **Timestamps.** The log orders by its own timestamp, which is `occurred_at` however late an event is delivered; except
//! that an event which was refused for its timestamp (older than 14 days) is stored under the time of sending. So every
//! event in the window is judged, whatever its `occurred_at`: as a stray, by the row that it names. And a transition without
//! an event in its slice is only a candidate. At the end ([`run`]) candidates are looked for again: among the strays, in the
//! outbox, once more around their own time (an event delivered moments ago may not be visible at once), and if they are
//! almost 14 days old in everything that was stored since.
//!
//! **Order of reading.** Rows first, then the log; candidates in the outbox before the second look at the log. An event
//! leaves the outbox only after the log has it, so one that moves meanwhile is found in one of the two.

mod compare;
mod confirm;
mod event;
mod report;
mod run;
mod slice;
#[cfg(test)]
mod tests;
mod verifier;
pub mod window;

pub use report::{Different, EventFacts, Findings, Missing, Reason, Unknown, Verification};
pub use verifier::{Verifier, VerifyError};

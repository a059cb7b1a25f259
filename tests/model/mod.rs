//! The processor held against a model: any history, several processors at once, connections killed at random moments.
//!
//! In process, because a process for each history would be slow: the real store, service, processor and audit trail on a
//! real PostgreSQL, with an audit log that remembers.
//!
//! - [`reference`]: what must come of a history, in memory, knowing nothing of the library;
//! - [`recorded_history`]: histories, generated so that they shrink;
//! - [`world`]: the real thing, and [`audit_log`], where its events go;
//! - [`play`]: plays a history on both, and [`comparison`] holds one against the other;
//! - `randomised`, `races`, `volume`, `poison`, `slow`, `watching`: the tests.

mod audit_log;
mod comparison;
mod play;
mod poison;
mod races;
mod randomised;
mod recorded_history;
mod reference;
mod slow;
mod volume;
mod watching;
mod world;

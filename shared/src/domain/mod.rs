//! Domain values, parsed once at the edge and trusted inside, and the pure decisions over them. Nothing here does I/O
//! or names a database, HTTP or AWS type.

pub mod admin;
pub mod apply;
pub mod audit_event;
pub mod flag;
pub mod schedule;
pub mod text;
pub mod time;
pub mod time_range;

//! What the trail holds of what was done, by whom, and what becomes of it when something is in the way.

mod accountability;
mod budgets;
mod cloudwatch_faults;
mod function_log;
mod large_backlog;
mod lifecycle;
mod outages;
mod queries;
mod refusals;
mod soak;
mod sweep;
pub mod trail;
mod transitions;
mod witness;

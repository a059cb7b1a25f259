//! What the trail holds of what was done, by whom, and what becomes of it when something is in the way.

mod accountability;
mod outages;
mod queries;
mod soak;
mod transitions;
mod witness;

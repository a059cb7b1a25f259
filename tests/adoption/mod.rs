//! Tables that another tool has made and filled, with anything that their column types allow.
//!
//! - [`shape`]: the tables, adopted by the real `migrate`, and the service on them;
//! - [`values`]: the full range of each column type; [`adopted_world`] makes rows of them, in any column that
//!   `information_schema` names, so that a new column cannot be forgotten;
//! - [`reading`]: all pages of a flag against its rows;
//! - `property`: any rows, as often as there is time for; [`crate::seeds`] says how a failure is played again;
//! - `rows`: what has gone wrong before, a named test each.

mod adopted_world;
mod property;
mod reading;
mod rows;
mod shape;
mod values;

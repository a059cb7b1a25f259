//! The verification of the trail: no findings after an honest history, whatever went wrong in it; and exactly what was done
//! to the trail or to the database, if something was.

mod findings;
mod honest;
mod input;
mod random_manipulations;
mod restored;
pub mod trail_world;

//! The structure of the code: which way arrows point, where SQL lives and how it runs, habits that a tool can keep.

mod arrows;
mod habits;
mod paths;
mod plans;
mod single_homes;
pub mod source;
mod statements;

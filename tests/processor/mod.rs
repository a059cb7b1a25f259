//! Ticks: what they apply, in which order, and what they leave alone; also when they come late, all at once, or are killed.

mod applying;
pub mod crowd;
mod deleted;
mod function_clock;
pub mod held;
mod killed;
mod late;
mod locks;
mod many;
mod on_time;
mod together;

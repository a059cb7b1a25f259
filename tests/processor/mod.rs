//! Ticks: what they apply, in which order, and what they leave alone.

mod applying;
mod locks;

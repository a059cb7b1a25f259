//! The `schedule-processor` function.
fn main() {}

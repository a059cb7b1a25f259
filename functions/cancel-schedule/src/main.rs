//! The `cancel-schedule` function.
fn main() {}

//! The `list-schedules` function.
fn main() {}

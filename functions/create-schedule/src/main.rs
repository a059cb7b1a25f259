//! The `create-schedule` function.
fn main() {}

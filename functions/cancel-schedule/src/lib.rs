//! The `cancel-schedule` function.

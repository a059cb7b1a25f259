//! The `create-schedule` function.

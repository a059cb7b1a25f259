//! The `schedule-processor` function.

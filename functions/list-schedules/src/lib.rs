//! The `list-schedules` function.

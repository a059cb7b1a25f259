//! The `migrate` function.

//! The function's own clock.

use crate::domain::time::Timestamp;

/// The function's clock: for tokens, logs and early rejections. Due-ness goes by the database's clock.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

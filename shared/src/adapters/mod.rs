//! The ports on real technology: PostgreSQL, CloudWatch Logs, the machine's clock.

pub mod clock;
pub mod cloudwatch;
pub mod https;
pub mod postgres;

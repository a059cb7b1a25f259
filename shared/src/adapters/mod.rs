//! Implementations of the ports: PostgreSQL, CloudWatch Logs, HTTPS and the system clock.

pub mod clock;
pub mod cloudwatch;
pub mod https;
pub mod postgres;

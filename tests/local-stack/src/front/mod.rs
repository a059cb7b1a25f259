//! What listens on the local stack's port.

pub mod routing;

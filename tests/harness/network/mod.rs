//! Networks that fail: between a client and a server as a whole, or at a chosen PostgreSQL statement.

pub mod interceptor;
mod link;
mod messages;
pub mod proxy;

//! HTTP/1.1 on the loopback interface: [`send`] is the client, [`server`] is below every stand-in.

mod client;
pub mod recorder;
pub mod server;

pub use client::{Answer, send};

//! What the stand-ins, the local stack and the tests share: errors, the environment, the clock, a background runtime, and
//! HTTP on the loopback interface.

pub mod background;
pub mod clock;
pub mod error;
pub mod http;
pub mod listener;
pub mod process;
pub mod settings;

pub use error::{Error, Result};

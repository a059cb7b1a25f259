//! What goes wrong in the harness itself, told in one line that says what to do.

use std::error::Error as StdError;
use std::fmt;

/// A failure of the harness or the local stack, never of the service.
#[derive(Debug)]
pub struct Error {
    message: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure that needs no further cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), cause: None }
    }

    /// A failure because of another one; shown as `message: cause: its cause`.
    pub fn because(message: impl Into<String>, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { message: message.into(), cause: Some(cause.into()) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause = self.cause.as_deref().map(|cause| cause as &dyn StdError);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {}

/// Adds what was being attempted to somebody else's error.
pub trait Doing<T> {
    /// Wraps the error as `message: error`; `message` says what was being attempted.
    fn doing(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::because(message(), cause))
    }
}

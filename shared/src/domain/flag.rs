//! Flags as this service sees them: how one is addressed, and the two fields it changes.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::text::{TextError, check_name};

/// The greatest length of a flag key and of an environment's name, in characters.
pub const NAME_MAX: usize = 100;

/// A flag's key: 1 to 100 characters, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlagKey(String);

/// The environment a flag lives in: 1 to 100 characters, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(String);

impl FlagKey {
    /// Accepts a key.
    ///
    /// # Errors
    /// [`TextError`] when the length or a character is not allowed.
    pub fn parse(text: String) -> Result<Self, TextError> {
        check_name(&text, NAME_MAX).map(|()| Self(text))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Environment {
    /// Accepts a name.
    ///
    /// # Errors
    /// [`TextError`] when the length or a character is not allowed.
    pub fn parse(text: String) -> Result<Self, TextError> {
        check_name(&text, NAME_MAX).map(|()| Self(text))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self("production".to_owned())
    }
}

impl fmt::Display for FlagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a flag is addressed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlagAddress {
    /// The flag's key.
    pub key: FlagKey,
    /// The environment whose flag of that key is meant.
    pub environment: Environment,
}

/// The row id of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlagId(pub Uuid);

/// The two fields that a schedule changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagState {
    /// Whether the flag is on.
    pub enabled: bool,
    /// For how many of a hundred it is on. 0–100, though an adopted table may hold anything.
    pub rollout_percentage: i32,
}

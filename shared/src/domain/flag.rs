//! Flags as this service sees them: their address and the two fields it changes.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::text::{TextError, check_name};

/// Maximum length of flag keys and environment names, in characters.
pub const NAME_MAX: usize = 100;

/// 1 to 100 characters, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlagKey(String);

/// 1 to 100 characters, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(String);

impl FlagKey {
    pub fn parse(text: String) -> Result<Self, TextError> {
        check_name(&text, NAME_MAX).map(|()| Self(text))
    }

    /// Whatever another tool has stored.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Environment {
    pub fn parse(text: String) -> Result<Self, TextError> {
        check_name(&text, NAME_MAX).map(|()| Self(text))
    }

    /// Whatever another tool has stored.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Self(text)
    }

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

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlagAddress {
    pub key: FlagKey,
    pub environment: Environment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlagId(pub Uuid);

/// The two fields that a schedule changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagState {
    pub enabled: bool,
    /// 0–100 if this service wrote it; an adopted table may hold any value.
    pub rollout_percentage: i32,
}

//! What is wrong with a request, and where: an item of `errors` in a problem document.

use serde::Serialize;

/// Where in a request an error is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Location {
    /// In the body: a JSON pointer (RFC 6901).
    Pointer(String),
    /// A path or query parameter.
    Parameter(String),
    /// A header.
    Header(String),
}

/// One invalid part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputError {
    #[serde(flatten)]
    pub location: Location,
    /// What would be accepted.
    pub detail: String,
}

impl InputError {
    /// An error in the body, as a path below the top level.
    #[must_use]
    pub fn in_body(path: &[&str], detail: impl Into<String>) -> Self {
        let pointer =
            path.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect();
        Self { location: Location::Pointer(pointer), detail: detail.into() }
    }

    #[must_use]
    pub fn in_parameter(name: &str, detail: impl Into<String>) -> Self {
        Self { location: Location::Parameter(name.to_owned()), detail: detail.into() }
    }

    #[must_use]
    pub fn in_header(name: &str, detail: impl Into<String>) -> Self {
        Self { location: Location::Header(name.to_owned()), detail: detail.into() }
    }
}

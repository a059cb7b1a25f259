//! An invalid part of a request: an item of `errors` in a problem document.

use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Location {
    /// A JSON pointer (RFC 6901) into the body.
    Pointer(String),
    /// A path or query parameter.
    Parameter(String),
    Header(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputError {
    #[serde(flatten)]
    pub location: Location,
    /// Says what is accepted.
    pub detail: String,
}

impl InputError {
    /// `path` lists the pointer's segments, unescaped.
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

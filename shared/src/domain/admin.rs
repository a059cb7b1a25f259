//! Who is asking, and from where: what an audit event says about a person's call.

use serde::{Deserialize, Serialize};

/// An admin, as the verified token names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The user id: never empty, no control characters.
    pub user_id: String,
    /// The e-mail address, when the token has one.
    pub email: Option<String>,
}

/// The call itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallContext {
    /// API Gateway's request id where there is one, else Lambda's.
    pub request_id: String,
    /// The caller's address.
    pub source_ip: Option<String>,
    /// The caller's `User-Agent`.
    pub user_agent: Option<String>,
}

/// An admin and their call: what the service needs to hold somebody accountable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub admin: Admin,
    /// From where, in which request.
    pub call: CallContext,
}

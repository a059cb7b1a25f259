//! The authenticated admin and the request details that audit events record.

use serde::{Deserialize, Serialize};

/// From a verified token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Never empty, no control characters.
    pub user_id: String,
    pub email: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallContext {
    /// API Gateway's request id if there is one, else Lambda's.
    pub request_id: String,
    pub source_ip: Option<String>,
    pub user_agent: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub admin: Admin,
    pub call: CallContext,
}

//! What can be made to go wrong with a call of `PutLogEvents`.

use crate::limits::Rejected;

/// What becomes of one call. A batch that breaks a limit counts as illegal whatever the fault.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Stores nothing and answers with this status and error type.
    Refuse(u16, &'static str),
    /// Stores nothing and answers with this status and body, which is not what the protocol says.
    Garbage(u16, &'static str),
    /// Refuses batches with an event that has this text in it as `InvalidParameterException`, takes all others.
    Poison(&'static str),
    /// Answers with 200 that these events were refused for their time; stores the others.
    Reject(Rejected),
    Silence,
    /// Stores the events and never answers.
    StoreThenSilence,
    /// Stores nothing and cuts the connection.
    Cut,
    /// Stores the events and cuts the connection without an answer.
    StoreThenCut,
}

impl Fault {
    pub const THROTTLE: Self = Self::Refuse(400, "ThrottlingException");
    /// CloudWatch Logs has trouble of its own.
    pub const UNAVAILABLE: Self = Self::Refuse(503, "ServiceUnavailableException");
    pub const INTERNAL: Self = Self::Refuse(500, "InternalFailure");
    /// The function's role may not do this.
    pub const DENY: Self = Self::Refuse(400, "AccessDeniedException");
    /// The function's credentials were good once.
    pub const EXPIRE: Self = Self::Refuse(400, "ExpiredTokenException");

    /// Whether the events are taken up, if they are legal.
    pub(super) fn stores(&self) -> bool {
        match self {
            Self::Poison(_) | Self::Reject(_) | Self::StoreThenSilence | Self::StoreThenCut => true,
            Self::Refuse(..) | Self::Garbage(..) | Self::Silence | Self::Cut => false,
        }
    }
}

//! Events as the audit log takes them.

use crate::domain::audit_event::AuditEvent;
use crate::ports::audit_log::LogEvent;

/// One event as one line of JSON.
#[must_use]
pub fn render(event: &AuditEvent) -> String {
    // Serialising cannot fail: no map with non-string keys, no fallible `Serialize` in it.
    serde_json::to_string(event).unwrap_or_default()
}

pub(super) fn log_event(event: &AuditEvent) -> LogEvent {
    LogEvent { timestamp_ms: event.occurred_at.to_utc().timestamp_millis(), message: render(event) }
}

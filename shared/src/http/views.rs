//! Response bodies. Every key is always present, `null` if there is no value.

use lambda_http::http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::cursor::{self, Scope};
use crate::domain::flag::{Environment, FlagKey};
use crate::domain::schedule::{Schedule, ScheduleId, StoredStatus, StoredUpdates};
use crate::domain::time::Timestamp;
use crate::ports::schedules::Page;

/// RFC 3986's unreserved characters are not escaped.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug, Serialize)]
pub struct ScheduleView {
    id: ScheduleId,
    flag_key: FlagKey,
    environment: Environment,
    scheduled_at: Timestamp,
    apply_by: Option<Timestamp>,
    status: StoredStatus,
    updates: StoredUpdates,
    expect: Option<StoredUpdates>,
    reason: Option<String>,
    created_at: Option<Timestamp>,
    created_by: Option<String>,
    cancelled_at: Option<Timestamp>,
    cancelled_by: Option<String>,
    cancel_reason: Option<String>,
    applied_at: Option<Timestamp>,
    failed_at: Option<Timestamp>,
    error_code: Option<String>,
    error_message: Option<String>,
}

impl From<Schedule> for ScheduleView {
    fn from(schedule: Schedule) -> Self {
        Self {
            id: schedule.id,
            updates: schedule.updates,
            expect: schedule.expect,
            flag_key: schedule.flag_key,
            environment: schedule.environment,
            scheduled_at: schedule.scheduled_at,
            apply_by: schedule.apply_by,
            status: schedule.status,
            reason: schedule.reason,
            created_at: schedule.created_at,
            created_by: schedule.created_by,
            cancelled_at: schedule.cancelled_at,
            cancelled_by: schedule.cancelled_by,
            cancel_reason: schedule.cancel_reason,
            applied_at: schedule.applied_at,
            failed_at: schedule.failed_at,
            error_code: schedule.error_code,
            error_message: schedule.error_message,
        }
    }
}

#[derive(Debug, Serialize)]
pub struct PageView {
    schedules: Vec<ScheduleView>,
    next_cursor: Option<String>,
}

impl PageView {
    #[must_use]
    pub fn new(scope: &Scope, page: Page) -> Self {
        Self {
            schedules: page.schedules.into_iter().map(ScheduleView::from).collect(),
            next_cursor: page.next.map(|next| cursor::encode(scope, next)),
        }
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}

impl Reply {
    pub fn ok(body: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { status: StatusCode::OK, headers: Vec::new(), body: serde_json::to_string(body)? })
    }

    /// `Location` is relative to the request's URL, so it also resolves behind a stage or base path that the function
    /// does not know.
    pub fn created(schedule: Schedule) -> Result<Self, serde_json::Error> {
        let mut location = format!("schedule/{}", schedule.id);
        if schedule.environment != Environment::default() {
            location.push_str("?environment=");
            location.extend(utf8_percent_encode(schedule.environment.as_str(), UNRESERVED));
        }
        Ok(Self {
            status: StatusCode::CREATED,
            headers: vec![("location", location)],
            body: serde_json::to_string(&ScheduleView::from(schedule))?,
        })
    }
}

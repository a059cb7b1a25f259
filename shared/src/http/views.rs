//! What callers see: a schedule, a page, a reply. Every key is always there, `null` where there is nothing.

use lambda_http::http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::cursor;
use crate::domain::flag::{Environment, FlagAddress, FlagKey};
use crate::domain::schedule::{Schedule, ScheduleId, StoredStatus, StoredUpdates};
use crate::domain::time::Timestamp;
use crate::ports::schedules::{Page, PageQuery};

/// What stays as it is in a query parameter: RFC 3986's unreserved characters.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A schedule.
#[derive(Debug, Serialize)]
pub struct ScheduleView {
    id: ScheduleId,
    flag_key: FlagKey,
    environment: Environment,
    scheduled_at: Timestamp,
    apply_by: Option<Timestamp>,
    status: StoredStatus,
    updates: StoredUpdates,
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

/// One page of schedules.
#[derive(Debug, Serialize)]
pub struct PageView {
    schedules: Vec<ScheduleView>,
    next_cursor: Option<String>,
}

impl PageView {
    /// The page that answers this query.
    #[must_use]
    pub fn new(flag: &FlagAddress, query: &PageQuery, page: Page) -> Self {
        Self {
            schedules: page.schedules.into_iter().map(ScheduleView::from).collect(),
            next_cursor: page.next.map(|next| cursor::encode(flag, query.status, next)),
        }
    }
}

/// A successful answer.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body: JSON.
    pub body: String,
}

impl Reply {
    /// 200 with this body.
    ///
    /// # Errors
    /// `serde_json`'s, which for these views would be a bug.
    pub fn ok(body: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { status: StatusCode::OK, headers: Vec::new(), body: serde_json::to_string(body)? })
    }

    /// 201 with the new schedule and its `Location`: a reference relative to the request's own URL, which therefore
    /// also resolves behind a stage or a base path that the function does not know of.
    ///
    /// # Errors
    /// `serde_json`'s, which for these views would be a bug.
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

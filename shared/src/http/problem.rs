//! RFC 9457 problem documents. Callers get a stable code and a sentence that says what to do; the log gets the full
//! chain of sources.

use lambda_http::http::StatusCode;
use serde::Serialize;

use super::body::MAX_BODY_BYTES;
use super::event::EventError;
use super::input_error::InputError;
use super::views::ScheduleView;
use crate::domain::schedule::MAX_DAYS_AHEAD;
use crate::error::chain;
use crate::ports::schedules::ScheduleError;
use crate::ports::store_error::StoreError;

pub const RETRY_AFTER_SECONDS: u32 = 2;

#[derive(Debug)]
pub enum Problem {
    /// Not an event that API Gateway would send.
    MalformedRequest(EventError),
    /// No `Authorization` header, or one of another scheme.
    NoToken,
    BadToken {
        rule: String,
    },
    /// The token is valid, and names no admin group where it should.
    NotAdmin {
        rule: String,
    },
    InvalidJson(String),
    /// Every violation in the request.
    Invalid(Vec<InputError>),
    BodyTooLarge,
    UnsupportedMediaType,
    Service(ScheduleError),
    /// Without a key set, no caller can be authenticated.
    KeysUnavailable,
    /// The handler ran out of time.
    TooSlow,
    Bug(String),
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        Self::MalformedRequest(error)
    }
}

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        Self::Service(error)
    }
}

/// Failing to serialise a view is a bug.
impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::Bug(chain(&error))
    }
}

#[derive(Debug, Serialize)]
pub struct ProblemView {
    r#type: String,
    title: &'static str,
    pub status: u16,
    detail: String,
    pub code: &'static str,
    request_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<InputError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<Box<ScheduleView>>,
}

impl Problem {
    /// No `_` arm: a new variant does not compile until someone chooses a status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MalformedRequest(_) | Self::InvalidJson(_) | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NoToken | Self::BadToken { .. } => StatusCode::UNAUTHORIZED,
            Self::NotAdmin { .. } => StatusCode::FORBIDDEN,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Service(error) => match error {
                ScheduleError::NoSuchFlag | ScheduleError::NoSuchSchedule => StatusCode::NOT_FOUND,
                ScheduleError::NotPending(_) => StatusCode::CONFLICT,
                ScheduleError::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
                ScheduleError::NotInTime { .. } => StatusCode::BAD_REQUEST,
                ScheduleError::Store(StoreError::Unavailable(_)) => StatusCode::SERVICE_UNAVAILABLE,
                ScheduleError::Store(StoreError::Rejected { .. }) => StatusCode::UNPROCESSABLE_ENTITY,
                ScheduleError::Store(StoreError::Corrupt { .. } | StoreError::Internal(_)) => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            },
            Self::KeysUnavailable | Self::TooSlow => StatusCode::SERVICE_UNAVAILABLE,
            Self::Bug(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::MalformedRequest(_) | Self::Invalid(_) => "invalid_request",
            Self::InvalidJson(_) => "invalid_json",
            Self::NoToken | Self::BadToken { .. } => "unauthenticated",
            Self::NotAdmin { .. } => "forbidden",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Service(error) => match error {
                ScheduleError::NoSuchFlag => "flag_not_found",
                ScheduleError::NoSuchSchedule => "schedule_not_found",
                ScheduleError::NotPending(_) => "schedule_not_pending",
                ScheduleError::KeyReused => "idempotency_key_reused",
                ScheduleError::NotInTime { .. } => "invalid_request",
                ScheduleError::Store(StoreError::Unavailable(_)) => "service_unavailable",
                ScheduleError::Store(StoreError::Rejected { .. }) => "rejected_by_database",
                ScheduleError::Store(StoreError::Corrupt { .. } | StoreError::Internal(_)) => {
                    "internal_error"
                }
            },
            Self::KeysUnavailable | Self::TooSlow => "service_unavailable",
            Self::Bug(_) => "internal_error",
        }
    }

    fn title(&self) -> &'static str {
        match self.code() {
            "invalid_request" => "The request is not valid",
            "invalid_json" => "The body is not valid JSON",
            "unauthenticated" => "Authentication is required",
            "forbidden" => "Only admins may do this",
            "flag_not_found" => "No such flag",
            "schedule_not_found" => "No such schedule",
            "schedule_not_pending" => "The schedule is no longer pending",
            "idempotency_key_reused" => "The idempotency key was used before",
            "body_too_large" => "The body is too large",
            "unsupported_media_type" => "The content type is not supported",
            "rejected_by_database" => "The database rejected the schedule",
            "service_unavailable" => "The service is not available",
            // `internal_error`
            _ => "Something went wrong",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::MalformedRequest(error) => format!("The request cannot be read: {error}."),
            // The same text for every bad token: it must not help anyone forge a better one.
            Self::NoToken | Self::BadToken { .. } => "Send a valid access token in the header `Authorization: Bearer <token>`.".into(),
            Self::NotAdmin { .. } => "The token is valid, but names no group of admins.".into(),
            Self::InvalidJson(reason) => format!("Send one JSON object in UTF-8: {reason}."),
            Self::Invalid(errors) => match &errors[..] {
                [_] => "One thing has to be corrected; `errors` says which.".into(),
                errors => format!("{} things have to be corrected; `errors` lists them.", errors.len()),
            },
            Self::BodyTooLarge => format!("Send at most {} bytes.", MAX_BODY_BYTES),
            Self::UnsupportedMediaType => "Send the header `Content-Type: application/json`.".into(),
            Self::Service(ScheduleError::NoSuchFlag) => "There is no flag of this key in this environment; check both (the environment is `production` unless `?environment=` says otherwise).".into(),
            Self::Service(ScheduleError::NoSuchSchedule) => "This flag has no schedule of this id in this environment.".into(),
            Self::Service(ScheduleError::NotPending(schedule)) => format!(
                "The schedule is {} already and cannot be cancelled; `schedule` shows it as it now stands.",
                schedule.status
            ),
            Self::Service(ScheduleError::KeyReused) => {
                "This `Idempotency-Key` belongs to another change of this flag; use a new key for a new change.".into()
            }
            Self::Service(ScheduleError::NotInTime { .. }) => Self::Invalid(self.input_errors()).detail(),
            Self::Service(ScheduleError::Store(StoreError::Rejected { message, .. })) => {
                format!("A constraint or a trigger of the database rejected it: {message}")
            }
            Self::Service(ScheduleError::Store(StoreError::Unavailable(_))) | Self::KeysUnavailable | Self::TooSlow => {
                format!("Try again in {RETRY_AFTER_SECONDS} seconds.")
            }
            Self::Service(ScheduleError::Store(StoreError::Corrupt { .. } | StoreError::Internal(_))) | Self::Bug(_) => {
                "This is a fault of the service. If it stays, report it with the `request_id`.".into()
            }
        }
    }

    fn input_errors(&self) -> Vec<InputError> {
        match self {
            Self::Invalid(errors) => errors.clone(),
            Self::MalformedRequest(error) => vec![InputError::in_body(&[], error.to_string())],
            Self::Service(ScheduleError::NotInTime { database_now }) => vec![InputError::in_body(
                &["scheduled_at"],
                format!("must be later than now ({database_now}) and at most {MAX_DAYS_AHEAD} days ahead"),
            )],
            _ => Vec::new(),
        }
    }

    /// RFC 6750 section 3, RFC 9110 section 10.2.3.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        match self.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let challenge = match self {
                    Self::NoToken => "Bearer",
                    Self::NotAdmin { .. } => "Bearer error=\"insufficient_scope\"",
                    _ => "Bearer error=\"invalid_token\"",
                };
                vec![("www-authenticate", challenge.to_owned())]
            }
            StatusCode::SERVICE_UNAVAILABLE => vec![("retry-after", RETRY_AFTER_SECONDS.to_string())],
            _ => Vec::new(),
        }
    }

    /// Details for the log only: no caller learns which rule a token broke.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::NoToken => Some("there is no bearer token".to_owned()),
            Self::BadToken { rule } | Self::NotAdmin { rule } => Some(rule.clone()),
            Self::Service(error @ ScheduleError::Store(_)) => Some(chain(error)),
            Self::Bug(cause) => Some(cause.clone()),
            Self::KeysUnavailable => Some("the key set could not be fetched".to_owned()),
            Self::TooSlow => Some("the handler ran out of time".to_owned()),
            _ => None,
        }
    }

    #[must_use]
    pub fn view(self, request_id: &str) -> ProblemView {
        let errors = self.input_errors();
        ProblemView {
            r#type: format!("urn:flag-schedules:problem:{}", self.code()),
            title: self.title(),
            status: self.status().as_u16(),
            detail: self.detail(),
            code: self.code(),
            request_id: request_id.to_owned(),
            errors,
            schedule: match self {
                Self::Service(ScheduleError::NotPending(schedule)) => Some(Box::new((*schedule).into())),
                _ => None,
            },
        }
    }
}

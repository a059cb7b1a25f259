//! The service as the outside knows it: its endpoints and functions.

/// `POST` and `GET` of a flag's schedules.
pub const SCHEDULES: &str = "/api/admin/flags/{flagKey}/schedule";
/// `GET` and `DELETE` of one schedule.
pub const SCHEDULE: &str = "/api/admin/flags/{flagKey}/schedule/{scheduleId}";
/// `GET` of the schedules of all flags.
pub const ACROSS_FLAGS: &str = "/api/admin/schedules";
/// Method, route and function of each endpoint.
pub const ENDPOINTS: [(&str, &str, &str); 5] = [
    ("POST", SCHEDULES, "create-schedule"),
    ("GET", SCHEDULES, "list-schedules"),
    ("GET", SCHEDULE, "list-schedules"),
    ("GET", ACROSS_FLAGS, "list-schedules"),
    ("DELETE", SCHEDULE, "cancel-schedule"),
];
pub const FUNCTIONS: [&str; 6] =
    ["create-schedule", "list-schedules", "cancel-schedule", "schedule-processor", "migrate", "verify-trail"];
/// The functions that write audit events, each to a stream of its name.
pub const AUDITING: [&str; 3] = ["create-schedule", "cancel-schedule", "schedule-processor"];
/// The database role of each function of a deployment.
pub const ROLES: [(&str, &str); FUNCTIONS.len()] = [
    ("create-schedule", "flag_schedules_api"),
    ("list-schedules", "flag_schedules_reader"),
    ("cancel-schedule", "flag_schedules_api"),
    ("schedule-processor", "flag_schedules_processor"),
    ("migrate", "flag_schedules_migrate"),
    ("verify-trail", "flag_schedules_reader"),
];

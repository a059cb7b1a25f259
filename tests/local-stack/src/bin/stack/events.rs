//! Audit events as they arrive, one readable line each.

use std::collections::HashSet;

use cloudwatch_stand_in::{LogGroup, Record};
use common::Result;
use serde_json::Value;

/// Shows every event of a log group once.
pub struct Follow {
    group: LogGroup,
    last_ingestion: Value,
    shown: HashSet<String>,
}

impl Follow {
    pub fn new(group: LogGroup) -> Self {
        Self { group, last_ingestion: Value::Null, shown: HashSet::new() }
    }

    /// The lines for all events that have not been shown yet, in the order of their arrival.
    pub async fn news(&mut self) -> Result<Vec<String>> {
        let last_ingestion = self.group.last_ingestion().await?;
        if last_ingestion == self.last_ingestion {
            return Ok(Vec::new());
        }
        let mut records = self.group.records().await?;
        self.last_ingestion = last_ingestion;
        records.retain(|record| self.shown.insert(record.id.clone()));
        Ok(records.iter().map(line).collect())
    }
}

fn line(record: &Record) -> String {
    let Ok(event) = record.json() else { return plain(&record.message) };
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(plain);
    let time = text("/occurred_at").unwrap_or_default();
    // The date says little on the day itself.
    let time = time.split_once('T').map_or(time.as_str(), |(_, time)| time).to_owned();
    let kind = text("/event_type").unwrap_or_default();
    let flag = text("/flag_key").unwrap_or_default();
    let environment = text("/environment").unwrap_or_default();
    let schedule = text("/schedule_id").unwrap_or_default();
    let who = match (text("/actor/name"), text("/actor/user_id"), text("/actor/email")) {
        (Some(name), ..) => name,
        (None, Some(id), Some(email)) => format!("{id} <{email}>"),
        (None, id, _) => id.unwrap_or_default(),
    };
    let what = what(&event).map_or_else(String::new, |what| format!(": {what}"));
    format!("{time}  {kind}  {flag} ({environment})  {schedule}  by {who}{what}")
}

/// What the event did or why not, and the reason that was given.
fn what(event: &Value) -> Option<String> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(plain);
    let lateness = event["lateness_ms"].as_i64().map_or_else(String::new, |ms| format!(", {ms} ms late"));
    let because =
        |reason: Option<String>| reason.map_or_else(String::new, |reason| format!(", because \"{reason}\""));
    match event["event_type"].as_str()? {
        "flag_schedule.created" => {
            let updates = fields(event.pointer("/schedule/updates")?);
            let at = text("/schedule/scheduled_at")?;
            Some(format!("{updates} at {at}{}", because(text("/schedule/reason"))))
        }
        "flag_schedule.cancelled" => {
            let updates = fields(event.pointer("/schedule/updates")?);
            Some(format!("withdrawn {updates}{}", because(text("/cancel_reason"))))
        }
        "flag_schedule.applied" => {
            let (before, after) = (event.pointer("/change/before")?, event.pointer("/change/after")?);
            let changes = before.as_object()?.iter().filter(|(name, value)| after[name.as_str()] != **value);
            let changes: Vec<_> =
                changes.map(|(name, old)| format!("{name} {old} -> {}", after[name.as_str()])).collect();
            let changes =
                if changes.is_empty() { "nothing to change".to_owned() } else { changes.join(", ") };
            Some(format!("{changes}{lateness}"))
        }
        "flag_schedule.failed" => {
            Some(format!("{}: {}{lateness}", text("/error/code")?, text("/error/message")?))
        }
        _ => None,
    }
}

/// `name value` of every field, without the braces.
fn fields(object: &Value) -> String {
    let fields = object.as_object().into_iter().flatten();
    let fields: Vec<_> =
        fields.map(|(name, value)| format!("{} {}", plain(name), plain(&value.to_string()))).collect();
    fields.join(", ")
}

/// Text that somebody typed, made harmless for a terminal.
fn plain(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .flat_map(|c| if hidden(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

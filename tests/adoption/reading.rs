//! What is in the tables, and what the service shows of it.

use std::collections::BTreeMap;

use harness::api::{find_request, list_request};
use harness::gateway::Response;
use serde_json::{Value, json};

use super::shape::Adopted;

/// Rows of one page: small, because a row may be megabytes.
const LIMIT: usize = 2;
/// Texts are compared up to this length, the longest that the service itself takes; longer ones may be shown shortened.
const COMPARED: usize = 500;
const TEXTS: [&str; 6] = ["status", "reason", "created_by", "cancelled_by", "cancel_reason", "error_code"];

/// A schedule as it is stored: what is to be shown of it, and what the processor made of it.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: String,
    pub flag_key: String,
    pub status: String,
    /// What a page is to show, without what is too long to compare.
    pub shown: Value,
    /// Due by the database's clock: `pending`, and its time has come.
    pub due: bool,
    /// Its `apply_by` has passed.
    pub expired: bool,
    /// The whole row, for a comparison.
    pub digest: String,
}

/// A time as the contract shows it: the nearest moment of the years 1 to 9999, in milliseconds.
fn shown(column: &str) -> String {
    format!(
        "'{column}', case
            when s.{column} is null then null
            when s.{column} >= '10000-01-01 00:00:00+00' then '9999-12-31T23:59:59.999Z'
            when s.{column} < '0001-01-01 00:00:00+00' then '0001-01-01T00:00:00.000Z'
            else to_char(date_trunc('milliseconds', s.{column}) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')
        end"
    )
}

/// All schedules.
pub async fn rows(world: &Adopted) -> Vec<Row> {
    let times =
        ["scheduled_at", "apply_by", "created_at", "cancelled_at", "applied_at", "failed_at"].map(shown);
    let texts = TEXTS.map(|column| {
        format!("'{column}', case when length(s.{column}) <= {COMPARED} then to_jsonb(s.{column}) end")
    });
    let sql = format!(
        "select s.id::text, f.flag_key, s.status,
            jsonb_build_object({}) || jsonb_build_object({}),
            s.status = 'pending' and s.scheduled_at <= now(), coalesce(s.apply_by < now(), false),
            md5(s::text || f::text)
         from feature_flag_schedules s join feature_flags f on f.id = s.flag_id",
        times.join(", "),
        texts.join(", ")
    );
    let rows = world.owner.query(&sql, &[]).await.unwrap();
    let row = |row: &tokio_postgres::Row| Row {
        id: row.get(0),
        flag_key: row.get(1),
        status: row.get(2),
        shown: row.get::<_, tokio_postgres::types::Json<Value>>(3).0,
        due: row.get(4),
        expired: row.get(5),
        digest: row.get(6),
    };
    rows.iter().map(row).collect()
}

/// Reads all pages of a flag, for each status, and compares them with the rows; what is wrong with them.
pub async fn pages(world: &Adopted, flag: &str, rows: &[Row]) -> Vec<String> {
    let mut found = Vec::new();
    for status in ["", "pending", "applied", "failed", "cancelled"] {
        let wanted =
            rows.iter().filter(|row| row.flag_key == flag && (status.is_empty() || row.status == status));
        let mut wanted: BTreeMap<&str, &Row> = wanted.map(|row| (row.id.as_str(), row)).collect();
        let filter = if status.is_empty() { String::new() } else { format!("&status={status}") };
        let mut cursor = String::new();
        // Each page has a row, or is the last.
        for _ in 0..=rows.len() {
            let page = page(world, flag, &format!("limit={LIMIT}{filter}{cursor}")).await;
            let page = match page {
                Ok(page) if page.status == 200 => page,
                Ok(page) => {
                    found.push(format!(
                        "a page of {flag:?} ({filter}{cursor}): {} {}",
                        page.status, page.text
                    ));
                    break;
                }
                Err(error) => {
                    found.push(format!("a page of {flag:?} ({filter}{cursor}): {error}"));
                    break;
                }
            };
            for schedule in page.json["schedules"].as_array().into_iter().flatten() {
                if status.is_empty() {
                    found.extend(alone(world, flag, schedule).await);
                }
                match wanted.remove(schedule["id"].as_str().unwrap_or_default()) {
                    Some(row) => found.extend(differences(row, schedule)),
                    None => {
                        found.push(format!("{flag:?} ({filter}) lists {} again or wrongly", schedule["id"]))
                    }
                }
            }
            match page.json["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => {
                    found.extend(wanted.keys().map(|id| format!("{flag:?} ({filter}) does not list {id}")));
                    break;
                }
            }
        }
    }
    found
}

/// A page is read as columns, a single schedule as a document: whether both say the same.
async fn alone(world: &Adopted, flag: &str, listed: &Value) -> Option<String> {
    let id = listed["id"].as_str().unwrap_or_default();
    let request = find_request(flag, id, "").bearer(&world.token);
    let alone = world.api.send(&request).await;
    (alone.json != *listed)
        .then(|| format!("{id} is {} alone, and {} on a page", brief(&alone.json), brief(listed)))
}

/// One page, also where the answer is not as the API's description says.
async fn page(world: &Adopted, flag: &str, query: &str) -> Result<Response, String> {
    let request = list_request(flag, query).bearer(&world.token);
    let api = &world.api;
    let sending = std::panic::AssertUnwindSafe(api.send(&request));
    let sent = futures_util::FutureExt::catch_unwind(sending).await;
    sent.map_err(|panic| {
        panic.downcast_ref::<String>().cloned().unwrap_or_default().chars().take(600).collect()
    })
}

fn differences(row: &Row, schedule: &Value) -> Vec<String> {
    let fields = row.shown.as_object().into_iter().flatten();
    // A text that is too long to be compared is null among what is to be shown.
    fields
        .filter(|(name, value)| !(TEXTS.contains(&name.as_str()) && value.is_null()))
        .filter(|(name, value)| schedule[name.as_str()] != **value)
        .map(|(name, value)| {
            format!("{name} of {} is shown as {}, not as {value}", row.id, brief(&schedule[name.as_str()]))
        })
        .collect()
}

fn brief(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > 200 => json!(text.chars().take(200).collect::<String>()),
        other => other.clone(),
    }
}

//! What `{{…}}` stands for, as REST Client has it: file variables, `$dotenv`, `$datetime`, `$guid`, and parts of requests
//! that were sent and answers that came.

use std::collections::BTreeMap;

use chrono::{SecondsFormat, TimeDelta};
use harness::http::Answer;
use serde_json::Value;

/// All that a variable can be looked up in.
#[derive(Debug, Default)]
pub struct Variables {
    /// What stands in `.env`.
    pub dotenv: BTreeMap<String, String>,
    /// `@name = value`; the values may hold variables too.
    pub file: BTreeMap<String, String>,
    /// What was sent and came, by `@name`.
    pub exchanges: BTreeMap<String, Exchange>,
}

/// A request that was sent, and its answer.
#[derive(Debug)]
pub struct Exchange {
    /// As sent.
    pub sent: Vec<(String, String)>,
    /// As it came.
    pub answer: Answer,
}

impl Variables {
    /// The text with every variable replaced.
    ///
    /// # Errors
    /// The variable that stands for nothing.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or_else(|| format!("no end of {{{{{after}"))?;
            let value =
                self.value(name.trim())?.ok_or_else(|| format!("{{{{{name}}}}} stands for nothing"))?;
            filled.push_str(before);
            filled.push_str(&value);
            rest = after;
        }
        Ok(filled + rest)
    }

    fn value(&self, name: &str) -> Result<Option<String>, String> {
        let words: Vec<_> = name.split_whitespace().collect();
        Ok(match words[..] {
            ["$dotenv", name] => self.dotenv.get(name).cloned(),
            ["$guid"] => Some(uuid::Uuid::new_v4().to_string()),
            ["$datetime", "iso8601", offset, unit] => in_future(offset, unit),
            [name] => match self.file.get(name) {
                Some(value) => Some(self.fill(value)?),
                None => self.part(name),
            },
            _ => None,
        })
    }

    /// `name.request.headers.X`, `name.response.headers.X` or `name.response.body.$.x`.
    fn part(&self, path: &str) -> Option<String> {
        let (name, part) = path.split_once('.')?;
        let exchange = self.exchanges.get(name)?;
        if let Some(wanted) = part.strip_prefix("request.headers.") {
            let found = exchange.sent.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.clone())
        } else if let Some(wanted) = part.strip_prefix("response.headers.") {
            header(&exchange.answer, wanted)
        } else {
            match json_at(&exchange.answer, part.strip_prefix("response.body.")?)? {
                Value::String(text) => Some(text),
                other => Some(other.to_string()),
            }
        }
    }
}

/// A header of an answer.
pub fn header(answer: &Answer, name: &str) -> Option<String> {
    answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A value in the body of an answer, by the part of JSONPath that is plain: `$.a.b[0].c`.
pub fn json_at(answer: &Answer, path: &str) -> Option<Value> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let pointer = path.strip_prefix('$')?.replace(['.', '['], "/").replace(']', "");
    body.pointer(&pointer).cloned()
}

fn in_future(offset: &str, unit: &str) -> Option<String> {
    let offset = offset.parse().ok()?;
    let offset = match unit {
        "d" => TimeDelta::days(offset),
        "h" => TimeDelta::hours(offset),
        _ => return None,
    };
    Some((harness::clock::now() + offset).to_rfc3339_opts(SecondsFormat::Millis, true))
}

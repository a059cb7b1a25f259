//! Events as the log has them: read without trust, as a flat list of fields.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::domain::audit_event::{EventId, EventType};
use crate::domain::schedule::ScheduleId;
use crate::ports::transitions::TransitionKey;

/// By name, `schedule.reason` for instance.
pub(super) type Fields = BTreeMap<String, Value>;

pub(super) type Digest = [u8; 16];

/// Objects whose members are fields of their own.
const NESTED: [&str; 3] = ["actor", "error", "schedule"];
/// What the row does not know.
const BEYOND: [&str; 5] = ["actor.email", "change", "event_id", "request", "state"];
/// What may differ between copies of an event: a later release adds it to the next copy.
const ADDED_BEYOND: [&str; 1] = ["state"];

#[derive(Debug)]
pub(super) struct TrailEvent {
    pub event_id: EventId,
    pub event_type: EventType,
    pub schedule_id: ScheduleId,
    /// What the row must say, too.
    pub known: Fields,
    /// The rest, as JSON text.
    pub beyond: BTreeMap<String, String>,
}

impl TrailEvent {
    /// `None` if it is not an event: not a JSON object, a member given twice, or without what identifies it.
    pub(super) fn parse(message: &str) -> Option<Self> {
        let (mut known, mut beyond) = (Fields::new(), BTreeMap::new());
        let mut add = |name: String, raw: &RawValue| -> Option<()> {
            if BEYOND.contains(&name.as_str()) {
                beyond.insert(name, raw.get().to_owned());
            } else {
                // As in a row: JSON nested too deeply to parse is a string of its own text.
                let value = serde_json::from_str(raw.get()).unwrap_or_else(|_| Value::from(raw.get()));
                known.insert(name, value);
            }
            Some(())
        };
        for (name, raw) in serde_json::from_str::<Members<'_>>(message).ok()?.0 {
            if NESTED.contains(&name.as_str()) && raw.get().starts_with('{') {
                for (member, raw) in serde_json::from_str::<Members<'_>>(raw.get()).ok()?.0 {
                    add(format!("{name}.{member}"), raw)?;
                }
            } else {
                add(name, raw)?;
            }
        }
        let text = |name: &str| known.get(name).and_then(Value::as_str);
        let event_id: Uuid = serde_json::from_str(beyond.get("event_id")?).ok()?;
        Some(Self {
            event_id: EventId(event_id),
            event_type: EventType::parse(text("event_type")?)?,
            schedule_id: ScheduleId(text("schedule_id")?.parse().ok()?),
            known,
            beyond,
        })
    }

    pub(super) fn key(&self) -> TransitionKey {
        (self.schedule_id, self.event_type)
    }

    /// Of what the row must say, too.
    pub(super) fn digest(&self) -> Digest {
        digest_of(&self.known)
    }

    /// Of what distinguishes it from a forged copy.
    pub(super) fn digest_beyond(&self) -> Digest {
        let beyond = self.beyond.iter().filter(|(name, _)| !ADDED_BEYOND.contains(&name.as_str()));
        let mut hash = Sha256::new();
        for (name, text) in beyond {
            hash.update(name);
            hash.update([0]);
            hash.update(text);
            hash.update([0]);
        }
        cut(hash)
    }
}

pub(super) fn digest_of(known: &Fields) -> Digest {
    // Serialising cannot fail: string keys, and values that were parsed from JSON.
    let text = serde_json::to_string(known).unwrap_or_default();
    digest_of_text(&text)
}

pub(super) fn digest_of_text(text: &str) -> Digest {
    cut(Sha256::new().chain_update(text))
}

fn cut(hash: Sha256) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(&hash.finalize()[..size_of::<Digest>()]);
    digest
}

/// The members of a JSON object, each once: of a member given twice, readers take either.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members: Vec<(String, &'de RawValue)> = Vec::new();
        while let Some((name, raw)) = map.next_entry::<String, &'de RawValue>()? {
            if members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom(format_args!("`{name}` is given twice")));
            }
            members.push((name, raw));
        }
        Ok(Members(members))
    }
}

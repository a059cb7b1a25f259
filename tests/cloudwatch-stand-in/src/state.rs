//! Groups, streams and events, and what becomes of a call to them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::limits::{self, Rejected};
use crate::record::{Call, Input, Outcome, Stored};
use common::clock;

/// Events in one page of `FilterLogEvents`, at most.
const PAGE: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct State {
    /// Where its clock stands, if it has been stopped.
    pub clock: Option<i64>,
    pub groups: BTreeMap<String, Group>,
    pub stored: Vec<Stored>,
    pub calls: Vec<Call>,
    /// How many calls there were before those.
    pub forgotten: usize,
    pub script: VecDeque<Fault>,
    pub lasting: Option<Fault>,
    /// How long `PutLogEvents` takes to answer, after it has stored the events.
    pub delay: Duration,
    pub denied: BTreeSet<&'static str>,
    /// How many reads are still to be refused as too many.
    pub throttled_reads: usize,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    pub streams: BTreeSet<String>,
    retention_days: Option<i64>,
}

#[derive(Debug)]
pub(super) enum Reply {
    Answer { status: u16, body: String, after: Duration },
    Silence,
    Cut,
}

/// What happens with a call: `call` is its place among the calls, unless it only reads.
#[derive(Debug)]
pub(super) struct Plan {
    pub call: Option<usize>,
    pub reply: Reply,
    pub outcome: Outcome,
}

/// An error type with its message; the status is 400.
type Refusal = (&'static str, String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    log_group_name: String,
    #[serde(default)]
    log_stream_name: String,
    #[serde(default)]
    retention_in_days: Option<i64>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default)]
    start_time: Option<i64>,
    #[serde(default)]
    end_time: Option<i64>,
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutBody {
    log_group_name: String,
    log_stream_name: String,
    log_events: Vec<InputBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputBody {
    timestamp: i64,
    message: String,
}

impl State {
    /// Does what a call asks for, or what was asked for instead.
    pub fn call(&mut self, action: &str, body: &[u8]) -> Plan {
        if action == "PutLogEvents" {
            return self.put(body);
        }
        let target: Target = match serde_json::from_slice(body) {
            Ok(target) => target,
            Err(error) => return self.illegal(action, &format!("the body of {action}: {error}")),
        };
        if action == "FilterLogEvents" {
            let answer = if self.throttled_reads > 0 {
                self.throttled_reads -= 1;
                Err(("ThrottlingException", "Rate exceeded".to_owned()))
            } else if self.denied.contains(action) {
                Err(("AccessDeniedException", format!("not authorized to perform: logs:{action}")))
            } else {
                self.filter(&target)
            };
            return Plan::of(None, &answer, Rejected::default());
        }
        let answer = match action {
            _ if self.denied.contains(action) => {
                Err(("AccessDeniedException", format!("not authorized to perform: logs:{action}")))
            }
            "CreateLogGroup" => self.create_group(&target),
            "CreateLogStream" => self.create_stream(&target),
            "PutRetentionPolicy" => self.group(&target.log_group_name).map(|group| {
                group.retention_days = target.retention_in_days;
                Value::Null
            }),
            _ => return self.illegal(action, &format!("there is no action {action} here")),
        };
        let call = self.record(action, &target.log_stream_name, Vec::new(), None, None);
        Plan::of(call, &answer, Rejected::default())
    }

    /// Takes note of a call that the protocol does not allow.
    pub fn illegal(&mut self, action: &str, why: &str) -> Plan {
        let answer = Err(("SerializationException", why.to_owned()));
        let call = self.record(action, "", Vec::new(), Some(why.to_owned()), None);
        Plan::of(call, &answer, Rejected::default())
    }

    /// The call of a plan, unless it has been forgotten.
    pub fn call_at(&mut self, call: usize) -> Option<&mut Call> {
        self.calls.get_mut(call.checked_sub(self.forgotten)?)
    }

    /// What is stored is no longer; calls are forgotten up to the first one that is still open or was illegal.
    pub fn take_stored(&mut self) -> Vec<Stored> {
        let is_kept = |call: &Call| call.ended.is_none() || call.illegal.is_some();
        let over = self.calls.iter().position(is_kept).unwrap_or(self.calls.len());
        self.calls.drain(..over);
        self.forgotten += over;
        std::mem::take(&mut self.stored)
    }

    fn put(&mut self, body: &[u8]) -> Plan {
        let fault = self.script.pop_front().or(self.lasting);
        let put: PutBody = match serde_json::from_slice(body) {
            Ok(put) => put,
            Err(error) => return self.illegal("PutLogEvents", &format!("the body of PutLogEvents: {error}")),
        };
        let batch: Vec<Input> = put
            .log_events
            .into_iter()
            .map(|InputBody { timestamp, message }| Input { timestamp, message: message.into() })
            .collect();
        let illegal = limits::check(&batch).err();
        let stores = fault.is_none_or(|fault| fault.stores());
        let answer = match &illegal {
            Some(why) => Err(("InvalidParameterException", why.clone())),
            None if stores => self.store(&put.log_group_name, &put.log_stream_name, &batch, fault),
            None => Ok(Rejected::default()),
        };
        let call = self.record("PutLogEvents", &put.log_stream_name, batch, illegal, fault);
        let rejected = answer.as_ref().copied().unwrap_or_default();
        let answer = answer.map(|rejected| match rejected.info() {
            Some(info) => json!({ "nextSequenceToken": "0", "rejectedLogEventsInfo": info }),
            None => json!({ "nextSequenceToken": "0" }),
        });
        let plan = Plan::of(call, &answer, rejected);
        let plan = match fault {
            None | Some(Fault::Poison(_) | Fault::Reject(_)) => plan,
            Some(Fault::Refuse(status, error_type)) => {
                Plan::refused(call, status, error_type, "as the test wants it")
            }
            Some(Fault::Garbage(status, body)) => {
                let reply = Reply::Answer { status, body: body.to_owned(), after: Duration::ZERO };
                Plan { reply, outcome: Outcome::Garbage, ..plan }
            }
            Some(Fault::Silence | Fault::StoreThenSilence) => {
                Plan { reply: Reply::Silence, outcome: Outcome::Open, ..plan }
            }
            Some(Fault::Cut | Fault::StoreThenCut) => {
                Plan { reply: Reply::Cut, outcome: Outcome::Cut, ..plan }
            }
        };
        plan.late(self.delay)
    }

    fn store(
        &mut self,
        group: &str,
        stream: &str,
        batch: &[Input],
        fault: Option<Fault>,
    ) -> Result<Rejected, Refusal> {
        let now = self.clock.unwrap_or_else(|| clock::now().timestamp_millis());
        let known = self.group(group)?;
        if !known.streams.contains(stream) {
            return Err(("ResourceNotFoundException", "The specified log stream does not exist.".to_owned()));
        }
        let rejected = match fault {
            Some(Fault::Reject(rejected)) => rejected,
            _ => Rejected::of(batch, now, known.retention_days),
        };
        if let Some(Fault::Poison(text)) = fault
            && batch.iter().any(|event| event.message.contains(text))
        {
            return Err(("InvalidParameterException", "an event is not acceptable".to_owned()));
        }
        let taken = batch.iter().enumerate().filter(|(index, _)| !rejected.has(*index));
        self.stored.extend(taken.map(|(_, event)| Stored {
            group: group.to_owned(),
            stream: stream.to_owned(),
            timestamp: event.timestamp,
            message: Arc::clone(&event.message),
        }));
        Ok(rejected)
    }

    fn create_group(&mut self, target: &Target) -> Result<Value, Refusal> {
        if self.groups.contains_key(&target.log_group_name) {
            return Err(("ResourceAlreadyExistsException", "The log group is there.".to_owned()));
        }
        self.groups.insert(target.log_group_name.clone(), Group::default());
        Ok(Value::Null)
    }

    fn create_stream(&mut self, target: &Target) -> Result<Value, Refusal> {
        match self.group(&target.log_group_name)?.streams.insert(target.log_stream_name.clone()) {
            true => Ok(Value::Null),
            false => Err(("ResourceAlreadyExistsException", "The log stream is there.".to_owned())),
        }
    }

    /// One page, in the order of arrival. `endTime` is inclusive.
    fn filter(&mut self, target: &Target) -> Result<Value, Refusal> {
        let start = target.next_token.as_deref().and_then(|token| token.parse().ok()).unwrap_or(0);
        self.group(&target.log_group_name)?;
        let (first, last) = (target.start_time.unwrap_or(0), target.end_time.unwrap_or(i64::MAX));
        let limit = target.limit.unwrap_or(PAGE).min(PAGE);
        let of_group = self.stored.iter().enumerate().filter(|(_, event)| {
            event.group == target.log_group_name && (first..=last).contains(&event.timestamp)
        });
        let mut events: Vec<Value> = of_group
            .skip(start)
            .take(limit + 1)
            .map(|(id, event)| {
                json!({
                    "eventId": id.to_string(), "logStreamName": event.stream,
                    "timestamp": event.timestamp, "message": &*event.message,
                })
            })
            .collect();
        let more = events.len() > limit;
        events.truncate(limit);
        let mut page = json!({ "events": events });
        if more {
            page["nextToken"] = json!((start + limit).to_string());
        }
        Ok(page)
    }

    fn group(&mut self, name: &str) -> Result<&mut Group, Refusal> {
        let missing = || ("ResourceNotFoundException", "The specified log group does not exist.".to_owned());
        self.groups.get_mut(name).ok_or_else(missing)
    }

    fn record(
        &mut self,
        action: &str,
        stream: &str,
        batch: Vec<Input>,
        illegal: Option<String>,
        fault: Option<Fault>,
    ) -> Option<usize> {
        self.calls.push(Call {
            action: action.to_owned(),
            stream: stream.to_owned(),
            began: Instant::now(),
            ended: None,
            batch,
            illegal,
            fault,
            outcome: Outcome::Open,
        });
        Some(self.forgotten + self.calls.len() - 1)
    }
}

impl Plan {
    fn of(call: Option<usize>, answer: &Result<Value, Refusal>, rejected: Rejected) -> Self {
        match answer {
            Ok(body) => {
                // Actions without a result answer with an empty body.
                let body = if body.is_null() { String::new() } else { body.to_string() };
                Self {
                    call,
                    reply: Reply::Answer { status: 200, body, after: Duration::ZERO },
                    outcome: Outcome::Done(rejected),
                }
            }
            Err((error_type, message)) => Self::refused(call, 400, error_type, message),
        }
    }

    fn refused(call: Option<usize>, status: u16, error_type: &str, message: &str) -> Self {
        let body = json!({ "__type": error_type, "message": message }).to_string();
        let outcome = Outcome::Refused(error_type.to_owned());
        Self { call, reply: Reply::Answer { status, body, after: Duration::ZERO }, outcome }
    }

    fn late(self, after: Duration) -> Self {
        match self.reply {
            Reply::Answer { status, body, .. } => {
                Self { reply: Reply::Answer { status, body, after }, ..self }
            }
            Reply::Silence | Reply::Cut => self,
        }
    }
}

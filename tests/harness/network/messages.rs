//! PostgreSQL's messages, read far enough to find a statement's label and to put another statement in its place.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use super::interceptor::{BEGIN, COMMIT};

/// The longest first message that PostgreSQL takes.
const MAX_STARTUP_BYTES: usize = 10_000;
/// The length of an SSLRequest; no StartupMessage is as short.
const SSL_REQUEST_BYTES: usize = 8;

/// Bytes that come in pieces of any size, cut into whole messages.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// The client's first message has no type.
    untyped: bool,
}

impl Frames {
    pub fn of_client() -> Self {
        Self { bytes: Vec::new(), untyped: true }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message; none either of what is not PostgreSQL's protocol.
    pub fn next(&mut self) -> Option<Message> {
        let type_bytes = usize::from(!self.untyped);
        let length = self.bytes.get(type_bytes..type_bytes + 4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize + type_bytes;
        if self.untyped && length > MAX_STARTUP_BYTES {
            self.bytes.clear();
        }
        if self.bytes.len() < length {
            return None;
        }
        let rest = self.bytes.split_off(length);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        let kind = if self.untyped { 0 } else { bytes[0] };
        // The StartupMessage follows an SSLRequest.
        self.untyped = self.untyped && length == SSL_REQUEST_BYTES;
        Some(Message { kind, bytes })
    }
}

/// One message, whole.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Its type; 0 for the first message of a client.
    pub kind: u8,
    pub bytes: Vec<u8>,
}

impl Message {
    /// Whether nothing has to follow it before the server acts: a Sync, a simple Query, and while a connection is opened
    /// every message. Parse, Bind, Describe, Execute and Sync sent together are one flight.
    pub fn ends_flight(&self) -> bool {
        !matches!(self.kind, b'P' | b'B' | b'D' | b'E' | b'C' | b'd')
    }

    /// Whether the client waits for the server after it.
    pub fn waits(&self) -> bool {
        self.ends_flight() && self.kind != b'X'
    }

    /// Whether the server ends its answer to it with ReadyForQuery.
    pub fn wants_ready(&self) -> bool {
        matches!(self.kind, b'S' | b'Q')
    }

    /// The label of the statement in it: its name, or its first words in lower case.
    pub fn label(&self) -> Option<String> {
        let (_, sql, _) = self.parts()?;
        let sql = String::from_utf8_lossy(sql);
        let sql = sql.trim_start();
        if let Some(name) = sql.strip_prefix("-- ").and_then(|rest| rest.split_once(':')) {
            return Some(name.0.to_owned());
        }
        let words: Vec<String> =
            sql.split_whitespace().take(2).map(|word| word.trim_end_matches(';').to_lowercase()).collect();
        let label = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["start", "transaction"] | ["begin", ..] => BEGIN,
            ["commit", ..] => COMMIT,
            ["rollback", "to"] => "rollback to",
            [first @ ("rollback" | "savepoint" | "release"), ..] => first,
            [] => "ping",
            _ => return Some(words.join(" ")),
        };
        Some(label.to_owned())
    }

    /// The name that a Parse gives to a statement; none without one.
    pub fn prepares(&self) -> Option<String> {
        let (before, ..) = (self.kind == b'P').then(|| self.parts()).flatten()?;
        let name = before.strip_suffix(&[0])?;
        (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    }

    /// The name of the statement that a Bind is about; none if it has no name.
    pub fn binds(&self) -> Option<String> {
        let (_, name, _) = self.bound()?;
        (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    }

    /// What a Bind of the statement that `parse` has prepared becomes: a Parse of one without a name that raises this
    /// SQLSTATE, and the Bind of that.
    pub fn raising_instead(&self, parse: &Self, code: &str) -> Option<[Self; 2]> {
        let (_, _, types) = parse.parts()?;
        let raise = format!("select faults.raise('{code}')");
        let (portal, _, parameters) = self.bound()?;
        Some([
            Self::of(b'P', &[&[0], raise.as_bytes(), &[0], types]),
            Self::of(b'B', &[portal, &[0, 0], parameters]),
        ])
    }

    /// A Bind of a statement that nobody has prepared.
    pub fn binding_nothing(&self) -> Self {
        let Some((portal, _, parameters)) = self.bound() else { return self.clone() };
        Self::of(b'B', &[portal, b"\0nobody\0", parameters])
    }

    /// The process that serves the connection, from the server's BackendKeyData.
    pub fn process(&self) -> Option<i32> {
        let id = (self.kind == b'K').then(|| self.bytes.get(5..9)).flatten()?;
        Some(i32::from_be_bytes(id.try_into().ok()?))
    }

    /// The same message with a statement that raises this SQLSTATE. The types of its parameters stay, so that what the
    /// client binds is still right.
    pub fn raising(&self, code: &str) -> Self {
        let Some((before, _, after)) = self.parts() else { return self.clone() };
        let raise = format!("select faults.raise('{code}')");
        let sql = match self.label().as_deref() {
            Some(COMMIT) if self.kind == b'Q' => format!("rollback; {raise}"),
            _ => raise,
        };
        Self::of(self.kind, &[before, sql.as_bytes(), &[0], after])
    }

    fn of(kind: u8, body: &[&[u8]]) -> Self {
        let body = body.concat();
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        Self { kind, bytes: [&[kind][..], &length.to_be_bytes(), &body].concat() }
    }

    /// Of a Bind: the portal, the name of the statement, and what follows it.
    fn bound(&self) -> Option<(&[u8], &[u8], &[u8])> {
        let body = (self.kind == b'B').then(|| self.bytes.get(5..)).flatten()?;
        let portal = body.iter().position(|byte| *byte == 0)?;
        let (portal, rest) = (&body[..portal], &body[portal + 1..]);
        let name = rest.iter().position(|byte| *byte == 0)?;
        Some((portal, &rest[..name], &rest[name + 1..]))
    }

    /// What precedes the statement (the name of a prepared one), the statement, and what follows it.
    fn parts(&self) -> Option<(&[u8], &[u8], &[u8])> {
        let body = self.bytes.get(5..)?;
        let before = match self.kind {
            b'Q' => 0,
            b'P' => body.iter().position(|byte| *byte == 0)? + 1,
            _ => return None,
        };
        let (before, rest) = body.split_at(before);
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some((before, &rest[..end], &rest[end + 1..]))
    }
}

//! What a PostgreSQL client sends, read far enough to tell when it waits for the server.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

/// The messages of one connection, as they pass by in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// The start of a message whose length is not known yet.
    head: Vec<u8>,
    /// Bytes to come of a message whose start has passed.
    to_come: usize,
    /// The first message is over, which has no type.
    started: bool,
}

/// The length of an SSLRequest; no StartupMessage is as short. The StartupMessage follows it.
const SSL_REQUEST_BYTES: usize = 8;

impl Messages {
    /// How many flights end with these bytes. A flight is what a client sends before it waits: it ends with Sync or a
    /// simple Query, and while a connection is opened with every message of the client, to each of which the server has
    /// to answer. (Parse, Bind, Describe, Execute and Sync sent together are one flight; a Parse that is waited for is
    /// one of its own, since it has a Sync, too.)
    pub(super) fn flights_ended_by(&mut self, mut bytes: &[u8]) -> u64 {
        let mut flights = 0;
        while !bytes.is_empty() {
            if self.to_come > 0 {
                let passed = self.to_come.min(bytes.len());
                self.to_come -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            let type_bytes = usize::from(self.started);
            if self.head.len() < type_bytes + 4 {
                continue;
            }
            let mut length = [0; 4];
            length.copy_from_slice(&self.head[type_bytes..]);
            // The length counts itself.
            let length = u32::from_be_bytes(length) as usize;
            self.to_come = length.saturating_sub(4);
            // 'S' Sync, 'Q' Query, 'p' an answer to the server's request for a password.
            let ends = !self.started || matches!(self.head[0], b'S' | b'Q' | b'p');
            self.started = self.started || length != SSL_REQUEST_BYTES;
            self.head.clear();
            flights += u64::from(ends);
        }
        flights
    }
}

//! What a function writes to standard output and standard error.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use common::background;

/// More than this is forgotten, oldest first.
const LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// The lines so far, of all processes of one function, in the order of their arrival.
#[derive(Clone, Debug)]
pub(super) struct Output {
    lines: Arc<watch::Sender<Lines>>,
}

#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Output {
    pub(super) fn new() -> Self {
        Self { lines: Arc::new(watch::Sender::new(Lines::default())) }
    }

    /// Collects the lines of `pipe` until it ends.
    pub(super) fn collect(&self, pipe: impl AsyncRead + Send + Unpin + 'static) -> JoinHandle<()> {
        let output = self.clone();
        background::spawn(async move {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line).await, Ok(1..)) {
                let text = String::from_utf8_lossy(&line);
                output.push(text.trim_end_matches(['\r', '\n']));
                line.clear();
            }
        })
    }

    pub(super) fn push(&self, line: &str) {
        self.lines.send_modify(|kept| {
            kept.bytes += line.len();
            kept.lines.push_back(line.to_owned());
            while kept.bytes > LIMIT_BYTES {
                let Some(oldest) = kept.lines.pop_front() else { break };
                kept.bytes -= oldest.len();
            }
        });
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.borrow().lines.iter().cloned().collect()
    }

    /// The last lines, one under the other, for failure messages.
    pub(super) fn tail(&self, count: usize) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Waits for a line; gives the first that fits.
    pub(super) async fn wait_for(&self, fits: impl Fn(&str) -> bool) -> String {
        let mut lines = self.lines.subscribe();
        loop {
            if let Some(line) = lines.borrow_and_update().lines.iter().find(|line| fits(line)) {
                return line.clone();
            }
            // The sender lives as long as `self`.
            let _ = lines.changed().await;
        }
    }
}

//! What ends the stack from outside: a signal, or the death of whoever started it.

use std::time::Duration;

use common::Result;
use common::error::Doing;
use rustix::process::getppid;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// From its making on, the signals do not end this process by themselves.
pub struct Interrupt {
    int: Signal,
    term: Signal,
    hup: Signal,
    parent: Option<rustix::process::Pid>,
}

impl Interrupt {
    pub fn expect() -> Result<Self> {
        let listen = |kind| signal(kind).doing(|| "cannot listen for signals".to_owned());
        Ok(Self {
            int: listen(SignalKind::interrupt())?,
            term: listen(SignalKind::terminate())?,
            hup: listen(SignalKind::hangup())?,
            parent: getppid(),
        })
    }

    /// Waits for the first of them; gives the exit code that a shell would show. Cancel-safe.
    pub async fn wait(&mut self) -> u8 {
        let parent = self.parent;
        let orphaned = async {
            while getppid() == parent {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        tokio::select! {
            _ = self.int.recv() => 130,
            _ = self.term.recv() => 143,
            _ = self.hup.recv() => 129,
            () = orphaned => 129,
        }
    }
}

//! Servers that end when their owner ends, in whatever way that happens.
//!
//! Every server runs below a few lines of shell (`guard.sh`) in a process group of its own: Ctrl-C in a terminal reaches
//! the owner only, who then stops its servers in the right order; and when the owner is killed, the guard notices.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use common::error::{Doing, Error, Result};
pub use common::process::signal_group;
use common::settings;

const GUARD: &str = include_str!("guard.sh");
/// How long a server may take to stop before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A system user to run a server as.
#[derive(Clone, Copy, Debug)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug)]
pub struct Spec {
    pub what: String,
    /// The program; no search along `PATH`.
    pub program: PathBuf,
    pub args: Vec<String>,
    /// Its environment, besides `PATH`: nothing is inherited.
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    /// The signal that stops it: `INT`, `TERM`.
    pub stop_with: &'static str,
    /// Where its output goes; appended to.
    pub log: PathBuf,
    /// Files and folders to remove when the owner has died. The owner removes them itself otherwise.
    pub orphans: Vec<PathBuf>,
    /// Another user to run as; only root can.
    pub user: Option<User>,
}

/// A running server. Dropping it stops it, and waits for its end.
#[derive(Debug)]
pub struct Guarded {
    what: String,
    log: PathBuf,
    guard: Child,
    pipe: Option<ChildStdin>,
}

impl Guarded {
    pub fn start(spec: Spec) -> Result<Self> {
        let log = || -> Result<Stdio> {
            let file = File::options().create(true).append(true).open(&spec.log);
            Ok(file.doing(|| format!("cannot write {}", spec.log.display()))?.into())
        };
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", GUARD, "guard", spec.stop_with])
            .args(&spec.orphans)
            .arg("--")
            .arg(&spec.program)
            .args(&spec.args)
            .env_clear()
            .env("PATH", settings::path())
            .envs(&spec.env)
            .current_dir(&spec.cwd)
            .stdin(Stdio::piped())
            .stdout(log()?)
            .stderr(log()?)
            .process_group(0);
        if let Some(user) = spec.user {
            command.uid(user.uid).gid(user.gid);
        }

        let mut guard = command.spawn().doing(|| format!("cannot start {}", spec.program.display()))?;
        let pipe = guard.stdin.take();
        Ok(Self { what: spec.what, log: spec.log, guard, pipe })
    }

    /// Process id of the guard, the server's parent and leader of its process group.
    pub fn pid(&self) -> u32 {
        self.guard.id()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    pub fn has_ended(&mut self) -> bool {
        !matches!(self.guard.try_wait(), Ok(None))
    }

    /// Waits until it is `ready`, which gives something; fails when it ends, or is not ready within `limit`.
    pub async fn until<T>(&mut self, limit: Duration, ready: impl AsyncFn() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + limit;
        while !self.has_ended() {
            if let Some(found) = ready().await {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(self.failure(&format!("was not ready within {} s", limit.as_secs())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(self.failure("did not start"))
    }

    /// Waits until it ends by itself and tells so in one line. Cancel-safe.
    pub async fn ended(&mut self) -> Error {
        while !self.has_ended() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let how = self.guard.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        self.failure(&format!("ended ({how})"))
    }

    /// A failure of this server: what happened, the last line of its log, and where the log is.
    pub fn failure(&self, happened: &str) -> Error {
        let last = last_lines(&self.log, 1);
        Error::new(format!("{} {happened}; last line of {}: {last}", self.what, self.log.display()))
    }

    /// Stops it and waits for its end; kills it when it takes longer than ten seconds.
    pub async fn stop(mut self) {
        self.tell_to_stop();
        let deadline = Instant::now() + STOP_LIMIT;
        while !self.has_ended() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.kill();
    }

    fn tell_to_stop(&mut self) {
        let word: &[u8] = if self.has_ended() { b"gone\n" } else { b"stop\n" };
        if let Some(mut pipe) = self.pipe.take() {
            // A guard that is gone already has nothing to be told.
            let _ = pipe.write_all(word);
        }
    }

    fn kill(&mut self) {
        if !self.has_ended() {
            signal_group(self.guard.id(), rustix::process::Signal::KILL);
            let _ = self.guard.wait();
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.tell_to_stop();
        let deadline = Instant::now() + STOP_LIMIT;
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }
}

/// The last lines of a log file that are not empty, joined by ` | `.
pub fn last_lines(log: &Path, count: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(8192)..]).into_owned();
    let mut lines: Vec<&str> =
        text.lines().rev().filter(|line| !line.trim().is_empty()).take(count).collect();
    lines.reverse();
    if lines.is_empty() { "(empty)".to_owned() } else { lines.join(" | ") }
}

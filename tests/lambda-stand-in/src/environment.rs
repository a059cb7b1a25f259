//! One process of a function, from its start to its end, treated as Lambda treats it.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use rustix::process::Signal;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::output::Output;
use crate::runtime_api::{Answer, Dispatch, Progress, RuntimeApi};
use crate::{End, FunctionError, Invocation, Launch, Outcome};
use common::clock::epoch_millis;
use common::error::{Doing, Result};
use common::{process, settings};

/// How long the init phase may take, on Lambda and here.
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// How long a function has to end after SIGTERM.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

/// A running process with its Runtime API. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Environment {
    launch: Arc<Launch>,
    child: Child,
    pid: u32,
    started: Instant,
    api: RuntimeApi,
    progress: watch::Receiver<Progress>,
    readers: [Option<JoinHandle<()>>; 2],
}

/// Why there is no environment after the init phase.
#[derive(Debug)]
pub(super) enum InitFailure {
    /// The process ended, or was killed for taking too long.
    Ended(FunctionError, Option<ExitStatus>),
    /// The harness could not start it.
    Harness(common::Error),
}

enum Happened {
    Reached,
    Exited(Option<ExitStatus>),
    Deadline,
}

impl Environment {
    pub async fn start(launch: Arc<Launch>, output: &Output) -> Result<Self> {
        let (program, args) = match &launch.program {
            Some((program, args)) => (program.clone(), args.as_slice()),
            None => (crate::binary(&launch.name)?, [].as_slice()),
        };
        let api = RuntimeApi::start(&launch.name, launch.refuse_extensions).await?;
        let mut command = Command::new(&program);
        command
            .args(args)
            .env_clear()
            .env("PATH", settings::path())
            .envs(crate::lambda_variables(&launch.name, &api.address().to_string()))
            .envs(launch.env.variables())
            .current_dir(settings::functions_dir()?)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            // The kernel ends a frozen process that loses its parent, when it has a group of its own.
            .process_group(0)
            .kill_on_drop(true);
        let started = Instant::now();
        let mut child = command.spawn().doing(|| format!("cannot start {}", program.display()))?;
        let readers = [
            child.stdout.take().map(|it| output.collect(it)),
            child.stderr.take().map(|it| output.collect(it)),
        ];
        let pid = child.id().unwrap_or_default();
        let progress = api.progress.subscribe();
        Ok(Self { launch, child, pid, started, api, progress, readers })
    }

    /// Waits for the end of the init phase and freezes the process.
    pub async fn init(&mut self) -> std::result::Result<(), InitFailure> {
        match self.until(Progress::is_idle, Instant::now() + INIT_LIMIT).await {
            Happened::Reached => {
                self.freeze().await;
                Ok(())
            }
            Happened::Exited(status) => {
                let told = self.progress.borrow().init_error.clone();
                Err(InitFailure::Ended(told.unwrap_or_else(|| FunctionError::exit(status.as_ref())), status))
            }
            Happened::Deadline => {
                let message = format!("the init phase took longer than {} s", INIT_LIMIT.as_secs());
                Err(InitFailure::Ended(
                    FunctionError { error_type: "Sandbox.Timedout".to_owned(), message },
                    None,
                ))
            }
        }
    }

    /// One invocation: sends its outcome as soon as there is one, returns when the environment has come to rest.
    pub async fn invoke(&mut self, payload: Bytes, caller: oneshot::Sender<Invocation>) -> End {
        let request_id = uuid::Uuid::new_v4().to_string();
        let started = Instant::now();
        let deadline = started + self.launch.timeout;
        self.thaw();
        let dispatch = Dispatch {
            request_id: request_id.clone(),
            deadline_ms: epoch_millis(self.launch.timeout),
            arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{}", self.launch.name),
            payload,
        };
        self.api.progress.send_modify(|progress| progress.dispatch(dispatch));

        let answered = self.until(|progress| progress.answer.is_some() || progress.is_idle(), deadline).await;
        let response_after = started.elapsed();
        let (outcome, end) = match answered {
            Happened::Reached => (self.answer(), None),
            Happened::Exited(status) => {
                (Outcome::FunctionError(FunctionError::exit(status.as_ref())), Some(End::Exited))
            }
            Happened::Deadline => (Outcome::TimedOut, Some(End::TimedOut)),
        };
        // A caller that has given up does not change what happens to the environment.
        let _ = caller.send(Invocation { request_id, outcome, response_after });
        if let Some(end) = end {
            return end;
        }

        match self.until(Progress::is_idle, deadline).await {
            Happened::Reached => {
                self.freeze().await;
                End::Idle
            }
            Happened::Exited(_) => End::Exited,
            Happened::Deadline => End::TimedOut,
        }
    }

    /// Waits until the function has come so far; kills the process at the deadline.
    async fn until(&mut self, reached: impl Fn(&Progress) -> bool, deadline: Instant) -> Happened {
        let happened = tokio::select! {
            biased;
            _ = self.progress.wait_for(|progress| reached(progress)) => Happened::Reached,
            status = self.child.wait() => Happened::Exited(status.ok()),
            () = tokio::time::sleep_until(deadline.into()) => Happened::Deadline,
        };
        match happened {
            Happened::Reached => {}
            Happened::Exited(_) => self.drain().await,
            Happened::Deadline => self.kill().await,
        }
        happened
    }

    fn answer(&self) -> Outcome {
        match self.progress.borrow().answer.clone() {
            Some(answer) => answer.into(),
            None => Outcome::error(
                "Runtime.NoResponse",
                "the runtime asked for the next invocation without an answer",
            ),
        }
    }

    /// Waits for the process to end by itself or by somebody's signal. Cancel-safe.
    pub async fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.wait().await.ok();
        self.drain().await;
        status
    }

    pub fn has_exited(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Lambda's shutdown phase; gives the exit status.
    pub async fn shut_down(mut self) -> Option<ExitStatus> {
        self.thaw();
        process::signal(self.pid, Signal::TERM);
        match tokio::time::timeout(SHUTDOWN_LIMIT, self.exited()).await {
            Ok(status) => status,
            Err(_) => {
                self.kill().await;
                self.exited().await
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// From the start of the process to its first request for an invocation.
    pub fn init_after(&self) -> Option<Duration> {
        self.progress.borrow().first_next.map(|first| first - self.started)
    }

    /// Stops the process and waits until it does stand still.
    async fn freeze(&self) {
        if !self.launch.freeze {
            return;
        }
        process::signal(self.pid, Signal::STOP);
        while !process::is_at_rest(self.pid) {
            tokio::task::yield_now().await;
        }
    }

    fn thaw(&self) {
        if self.launch.freeze {
            process::signal(self.pid, Signal::CONT);
        }
    }

    async fn kill(&mut self) {
        // Fails only for a process that has ended.
        let _ = self.child.kill().await;
        self.drain().await;
    }

    /// Waits for the rest of the output of a process that has ended; a grandchild may keep the pipes open.
    async fn drain(&mut self) {
        for reader in self.readers.iter_mut().filter_map(Option::take) {
            let _ = tokio::time::timeout(Duration::from_secs(1), reader).await;
        }
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Response(body) => {
                let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
                Self::Ok(serde_json::from_slice(&body).unwrap_or_else(|_| text()))
            }
            Answer::Error(error) => Self::FunctionError(error),
        }
    }
}

//! Lambda for one machine: runs a function's real binary through the life that Lambda gives it.
//!
//! - Init is over when the runtime and every registered extension asked for their next event.
//! - The caller has its answer when the function has posted it; the environment is free again when all have asked for
//!   their next event. Only then is the next invocation handed out.
//! - Between invocations the process is frozen (`SIGSTOP`), for the next one it is thawed.
//! - At the function's time limit the process is killed. A process that has died is replaced by the next invocation.

mod environment;
pub mod gateway;
mod life;
mod outcome;
mod output;
mod runtime_api;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use outcome::{End, Exit, FunctionError, Invocation, Outcome, Settled};

use common::error::{Error, Result};
use common::{background, process, settings};
use environment::InitFailure;
use life::{Command, Life, Status};
use output::Output;

/// Environment variables of a function; it inherits none but `PATH`.
#[derive(Clone, Debug, Default)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a variable.
    #[must_use]
    pub fn unset(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

pub fn binary(name: &str) -> Result<PathBuf> {
    let program = settings::functions_dir()?.join(name);
    if program.exists() {
        return Ok(program);
    }
    Err(Error::new(format!(
        "{} is missing: run `make test`, or `cargo build --profile local --workspace --bins`",
        program.display()
    )))
}

/// The variables that Lambda itself sets for a function.
pub fn lambda_variables(name: &str, runtime_api: &str) -> BTreeMap<String, String> {
    let stream = format!("2026/01/01/[$LATEST]{}", uuid::Uuid::new_v4().simple());
    let variables = [
        ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_NAME", name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &format!("/aws/lambda/{name}")),
        ("AWS_LAMBDA_LOG_STREAM_NAME", &stream),
        ("AWS_LAMBDA_RUNTIME_API", runtime_api),
        ("TZ", ":UTC"),
        ("_HANDLER", "bootstrap"),
    ];
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// How a function is to be run.
#[derive(Clone, Debug)]
pub struct Launch {
    name: String,
    program: Option<(PathBuf, Vec<String>)>,
    env: Env,
    timeout: Duration,
    freeze: bool,
    refuse_extensions: Option<u16>,
    check: Option<Check>,
}

/// Checks a result: gets the function's name, the event and the result, and panics when something is wrong.
pub type Check = fn(&str, &Value, &Value);

impl Launch {
    /// The function of this name: ten seconds for an invocation, frozen in between.
    pub fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            program: None,
            env: Env::new(),
            timeout: Duration::from_secs(10),
            freeze: true,
            refuse_extensions: None,
            check: None,
        }
    }

    /// Another program than the function's own binary, with its arguments.
    #[must_use]
    pub fn program(self, program: PathBuf, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { program: Some((program, args)), ..self }
    }

    #[must_use]
    pub fn env(self, env: Env) -> Self {
        Self { env, ..self }
    }

    /// How long an invocation may take.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Whether the process is stopped between invocations.
    #[must_use]
    pub fn freeze(self, freeze: bool) -> Self {
        Self { freeze, ..self }
    }

    /// Answers every registration of an extension with this status.
    #[must_use]
    pub fn refuse_extensions(self, status: u16) -> Self {
        Self { refuse_extensions: Some(status), ..self }
    }

    #[must_use]
    pub fn check(self, check: Check) -> Self {
        Self { check: Some(check), ..self }
    }

    /// Starts the function and waits for the end of its init phase.
    pub async fn start(self) -> Result<Function> {
        let function = Function::run(self);
        let (reply, started) = oneshot::channel();
        function.send(Command::Start(reply));
        match started.await.unwrap_or_else(|_| Err(InitFailure::Harness(gone()))) {
            Ok(()) => Ok(function),
            Err(InitFailure::Harness(error)) => Err(error),
            Err(InitFailure::Ended(error, _)) => {
                let (name, lines) = (&function.launch.name, function.output.tail(20));
                Err(Error::new(format!("{name} did not start: {error}; its last lines:\n{lines}")))
            }
        }
    }
}

/// A function of the service in one execution environment. Dropping it kills the process.
#[derive(Debug)]
pub struct Function {
    launch: Arc<Launch>,
    output: Output,
    commands: mpsc::UnboundedSender<Command>,
    status: Arc<watch::Sender<Status>>,
    task: JoinHandle<()>,
}

impl Drop for Function {
    fn drop(&mut self) {
        self.kill();
        self.task.abort();
    }
}

impl Function {
    /// Starts a function with Lambda's usual treatment; `Launch` has the options.
    pub async fn start(name: &str, env: Env) -> Result<Self> {
        Launch::of(name).env(env).start().await
    }

    /// Starts a function that is expected to give up before its first event.
    pub async fn expect_exit(name: &str, env: Env) -> Exit {
        let function = Self::run(Launch::of(name).env(env));
        let (reply, started) = oneshot::channel();
        function.send(Command::Start(reply));
        match started.await.unwrap_or_else(|_| Err(InitFailure::Harness(gone()))) {
            Err(InitFailure::Ended(_, Some(status))) => Exit::of(Some(status), function.logs()),
            Err(InitFailure::Ended(error, None)) => panic!("{name} did not exit: {error}"),
            Err(InitFailure::Harness(error)) => panic!("{error}"),
            Ok(()) => {
                panic!("{name} started, but was expected to exit; its lines:\n{}", function.output.tail(20))
            }
        }
    }

    fn run(launch: Launch) -> Self {
        let launch = Arc::new(launch);
        let output = Output::new();
        let status = Arc::new(watch::Sender::new(Status::default()));
        let (commands, received) = mpsc::unbounded_channel();
        let life = Life::new(Arc::clone(&launch), output.clone(), Arc::clone(&status));
        let task = background::spawn(life.run(received));
        Self { launch, output, commands, status, task }
    }

    fn send(&self, command: Command) {
        // A life that has ended drops the command, and with it the channel for its reply.
        let _ = self.commands.send(command);
    }

    /// Invokes the function; returns as soon as the answer is there. Waits its turn behind earlier invocations.
    pub fn invoke<'a>(&'a self, event: &Value) -> impl Future<Output = Invocation> + use<'a> {
        self.invoke_bytes(event.to_string())
    }

    /// Invokes the function with any bytes as its event.
    pub fn invoke_bytes<'a, B: Into<Bytes>>(
        &'a self,
        event: B,
    ) -> impl Future<Output = Invocation> + use<'a, B> {
        let event = event.into();
        async move {
            let (reply, answered) = oneshot::channel();
            self.status.send_modify(|status| status.open += 1);
            self.send(Command::Invoke(event.clone(), reply));
            let invocation = answered.await.unwrap_or_else(|_| panic!("{}", gone()));
            if let (Some(check), Outcome::Ok(answer)) = (self.launch.check, &invocation.outcome) {
                check(self.name(), &serde_json::from_slice(&event).unwrap_or_default(), answer);
            }
            invocation
        }
    }

    /// Waits until no invocation is under way and the environment is at rest: all extensions done, frozen.
    pub async fn settled(&self, limit: Duration) -> Option<Settled> {
        let mut status = self.status.subscribe();
        let at_rest = async {
            let status = status.wait_for(|status| status.open == 0).await;
            status.ok().and_then(|status| status.last)
        };
        tokio::time::timeout(limit, at_rest).await.unwrap_or_else(|_| {
            let (name, lines) = (&self.launch.name, self.output.tail(20));
            panic!("{name} is still busy after {limit:?}; its last lines:\n{lines}")
        })
    }

    /// Kills the process at once, in whatever it is doing; the next invocation starts another.
    pub fn kill(&self) {
        self.status.send_modify(|status| {
            if let Some(pid) = status.pid {
                process::signal(pid, rustix::process::Signal::KILL);
                status.killed = true;
            }
        });
    }

    /// Lambda's shutdown: thaw, SIGTERM, after two seconds SIGKILL.
    pub async fn stop(&self) -> Exit {
        let (reply, stopped) = oneshot::channel();
        self.send(Command::Stop(reply));
        stopped.await.unwrap_or_else(|_| panic!("{}", gone()))
    }

    /// The name it was started by.
    pub fn name(&self) -> &str {
        &self.launch.name
    }

    /// The process, when there is one.
    pub fn pid(&self) -> Option<u32> {
        self.status.borrow().pid
    }

    /// From the start of the process to its first request for an invocation, when there is a process.
    pub fn init_after(&self) -> Option<Duration> {
        self.status.borrow().init_after
    }

    /// The most memory that the process has held, in KiB; on Linux only.
    pub fn peak_memory_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }

    /// All lines it has written to standard output and standard error, over all its processes.
    pub fn logs(&self) -> Vec<String> {
        self.output.lines()
    }

    /// Waits for a line of its output.
    pub async fn wait_for_log(&self, fits: impl Fn(&str) -> bool, limit: Duration) -> String {
        match tokio::time::timeout(limit, self.output.wait_for(fits)).await {
            Ok(line) => line,
            Err(_) => panic!(
                "no such line of {} within {limit:?}; its last lines:\n{}",
                self.launch.name,
                self.output.tail(20)
            ),
        }
    }
}

fn gone() -> Error {
    Error::new("the function's task has ended; an earlier panic of the harness says why")
}

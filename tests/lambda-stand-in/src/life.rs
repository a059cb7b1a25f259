//! What happens to a function, one thing after the other, over all its processes.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::environment::{Environment, InitFailure};
use crate::output::Output;
use crate::{End, Exit, Invocation, Launch, Outcome, Settled};

/// What can be asked of a function.
pub(super) enum Command {
    Start(oneshot::Sender<Result<(), InitFailure>>),
    Invoke(Bytes, oneshot::Sender<Invocation>),
    Stop(oneshot::Sender<Exit>),
}

/// What everybody may know about it.
#[derive(Debug, Default)]
pub(super) struct Status {
    pub pid: Option<u32>,
    /// How long its init phase took, once it is over.
    pub init_after: Option<Duration>,
    /// That process has been killed, even if its end has not been seen yet.
    pub killed: bool,
    /// Invocations that are waiting or whose environment has not come to rest.
    pub open: usize,
    pub last: Option<Settled>,
}

/// A function, over all its processes.
pub(super) struct Life {
    launch: Arc<Launch>,
    output: Output,
    status: Arc<watch::Sender<Status>>,
    environment: Option<Environment>,
}

impl Life {
    pub fn new(launch: Arc<Launch>, output: Output, status: Arc<watch::Sender<Status>>) -> Self {
        Self { launch, output, status, environment: None }
    }

    /// Does what is asked until nobody can ask any more.
    pub async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let command = match &mut self.environment {
                None => commands.recv().await,
                Some(environment) => tokio::select! {
                    command = commands.recv() => command,
                    _ = environment.exited() => {
                        self.end();
                        continue;
                    }
                },
            };
            match command {
                None => return,
                Some(Command::Start(reply)) => {
                    let _ = reply.send(self.ensure_started().await);
                }
                Some(Command::Invoke(payload, caller)) => self.invoke(payload, caller).await,
                Some(Command::Stop(reply)) => {
                    let exit = match self.environment.take() {
                        Some(environment) => environment.shut_down().await,
                        None => None,
                    };
                    self.end();
                    let _ = reply.send(Exit::of(exit, self.output.lines()));
                }
            }
        }
    }

    async fn ensure_started(&mut self) -> Result<(), InitFailure> {
        let killed = self.status.borrow().killed;
        if let Some(environment) = &mut self.environment {
            if killed {
                environment.exited().await;
            }
            if !environment.has_exited() {
                return Ok(());
            }
            self.end();
        }
        let environment = Environment::start(Arc::clone(&self.launch), &self.output).await;
        let mut environment = environment.map_err(InitFailure::Harness)?;
        self.status.send_modify(|status| status.pid = Some(environment.pid()));
        match environment.init().await {
            Ok(()) => {
                let init_after = environment.init_after();
                self.status.send_modify(|status| status.init_after = init_after);
                self.environment = Some(environment);
            }
            Err(failure) => {
                self.end();
                return Err(failure);
            }
        }
        Ok(())
    }

    async fn invoke(&mut self, payload: Bytes, caller: oneshot::Sender<Invocation>) {
        let started = std::time::Instant::now();
        let failure = self.ensure_started().await.err();
        let end = match (&mut self.environment, failure) {
            (Some(environment), None) => environment.invoke(payload, caller).await,
            (_, failure) => {
                let outcome = match failure {
                    Some(InitFailure::Ended(error, _)) => Outcome::FunctionError(error),
                    Some(InitFailure::Harness(error)) => Outcome::error("Harness", &error.to_string()),
                    None => Outcome::error("Harness", "there is no environment"),
                };
                let request_id = String::new();
                let _ = caller.send(Invocation { request_id, outcome, response_after: started.elapsed() });
                End::Exited
            }
        };
        if end != End::Idle {
            self.end();
        }
        let settled = Settled { done_after: started.elapsed(), end };
        self.status.send_modify(|status| {
            status.open -= 1;
            status.last = Some(settled);
        });
    }

    fn end(&mut self) {
        self.environment = None;
        self.status.send_modify(|status| {
            status.pid = None;
            status.init_after = None;
            status.killed = false;
        });
    }
}

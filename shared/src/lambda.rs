//! What every function needs of Lambda: logging, the run loop, and delivering audit events after the response.
//!
//! A task spawned after the response would freeze with the environment. An internal extension does not: the environment
//! is only frozen when the runtime and the extension have both asked for the next event. So the extension waits until
//! the response has been posted, sends what the invocation wrote, and asks.

use std::convert::Infallible;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::Map;
use lambda_extension::{Extension, NextEvent};
use lambda_http::Body;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_http::http::{HeaderName, HeaderValue, StatusCode};
pub use lambda_runtime::{Diagnostic, Error, LambdaEvent};
use lambda_runtime::{LambdaInvocation, Runtime};
use serde::Serialize;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tower::{Layer, Service, service_fn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::adapters::clock::SystemClock;
use crate::app::App;
use crate::audit::AuditTrail;
use crate::config::LogSettings;
use crate::http::problem::Problem;
use crate::http::request::{Request, gateway_request_id};
use crate::http::views::Reply;
use crate::ports::Clock;

/// A delivery after a response may take this long.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);
/// Left of an invocation's time when a delivery ends.
const FLUSH_RESERVE: Duration = Duration::from_millis(300);
/// A handler may take this long; the function's time limit must be higher.
const HANDLER_LIMIT: Duration = Duration::from_secs(8);
/// In so many turns of the event loop, a request to register as an extension is sent.
const REGISTERING_TURNS: usize = 3;
/// A deadline below this (September 2001) is no date.
const A_DATE_MS: u64 = 1_000_000_000_000;
/// Left of an invocation's time when a handler that has not answered is answered for.
const ANSWER_RESERVE: Duration = Duration::from_millis(500);

/// Starts logging to standard output, and lets panics be logged like errors.
pub fn start_logging(settings: &LogSettings) {
    // Not an `EnvFilter`: its regular expressions would be a tenth of the program.
    let filter = settings.filter.parse::<Targets>();
    let filter = filter.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    // At TRACE the AWS SDK's signer shows what it signs: in an address, that includes session tokens.
    let filter = filter.with_target("aws_sigv4", LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false);
    let logging = tracing_subscriber::registry().with(filter);
    if settings.json {
        let lines = lines.json().flatten_event(true).with_current_span(true).with_span_list(false);
        logging.with(lines).init();
    } else {
        logging.with(lines.without_time()).init();
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!(panic = %panic, "a panic")));
}

/// When an invocation ends, on this process's clock, from Lambda's milliseconds since 1970. `cargo lambda watch` sends
/// other numbers, which say nothing: then there is a minute.
#[must_use]
pub fn deadline_of(deadline_ms: u64) -> Instant {
    let now = u64::try_from(SystemClock.now().to_utc().timestamp_millis()).unwrap_or_default();
    let left = if deadline_ms < A_DATE_MS { 60_000 } else { deadline_ms.saturating_sub(now) };
    Instant::now() + Duration::from_millis(left)
}

/// Serves an endpoint that writes: runs the handler for each request, and delivers its audit events after the response.
/// What the function is made of is built while Lambda registers the extension.
///
/// # Errors
/// What keeps it from being built, and the runtime's when it cannot go on.
pub async fn serve<E, H>(build: impl FnOnce() -> Result<App, E>, handler: H) -> Result<(), Error>
where
    E: Into<Error>,
    H: AsyncFn(&App, &Request) -> Result<Reply, Problem>,
{
    let app = OnceLock::new();
    let finished = Finished::default();
    let flush = service_fn(|event: lambda_extension::LambdaEvent| {
        let finished = finished.clone();
        let audit = app.get().map(|app: &App| &app.audit);
        async move {
            if let (NextEvent::Invoke(invoke), Some(audit)) = (event.next, audit) {
                let deadline = deadline_of(invoke.deadline_ms);
                finished.wait_for(&invoke.request_id, deadline - FLUSH_RESERVE).await;
                flush(audit, deadline).await;
                while finished.wait_for_another(deadline - FLUSH_RESERVE).await {
                    flush(audit, deadline).await;
                }
            }
            // An extension that returns an error would end the process.
            Ok::<(), Infallible>(())
        }
    });
    // Awaited before the runtime asks for its first event: extensions can only register during init. Without it the
    // function serves all the same, and the processor's sweep delivers.
    let registering = Extension::new()
        .with_extension_name("audit-flush")
        .with_events(&["INVOKE"])
        .with_events_processor(flush)
        .register();
    let building = async {
        // So often until the request to register has been sent: then Lambda answers while this goes on.
        for _ in 0..REGISTERING_TURNS {
            tokio::task::yield_now().await;
        }
        build().map_err(Into::into)
    };
    let (extension, built) = tokio::try_join!(registering.map(Ok), building)?;
    let app = app.get_or_init(|| built);
    let delivering = async {
        let ended = match extension {
            Ok(extension) => extension.run().await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::error!(error, "no delivery after responses; the processor's sweep delivers");
        }
        std::future::pending::<()>().await;
    };
    let runtime = Runtime::new(service_fn(|event| respond(app, &handler, event))).layer(finished.clone());
    tokio::select! {
        ended = runtime.run() => ended,
        () = delivering => Ok(()),
        () = terminated() => Ok(()),
    }
}

/// Serves an endpoint that only reads: no event is written, so nothing is delivered.
///
/// # Errors
/// The runtime's, when it cannot go on.
pub async fn serve_reads<H>(app: &App, handler: H) -> Result<(), Error>
where
    H: AsyncFn(&App, &Request) -> Result<Reply, Problem>,
{
    run(Runtime::new(service_fn(|event| respond(app, &handler, event)))).await
}

/// Serves a function that is not an HTTP endpoint: whatever event comes in, a JSON result goes out.
///
/// # Errors
/// The runtime's, when it cannot go on.
pub async fn serve_events<H, T, E>(handler: H) -> Result<(), Error>
where
    H: AsyncFn(LambdaEvent<Value>) -> Result<T, E>,
    T: Serialize,
    E: Into<Diagnostic> + Debug,
{
    run(Runtime::new(service_fn(|event| handler(event)))).await
}

async fn run<S>(runtime: Runtime<S>) -> Result<(), Error>
where
    S: Service<LambdaInvocation, Response = (), Error = Error>,
{
    tokio::select! {
        ended = runtime.run() => ended,
        () = terminated() => Ok(()),
    }
}

/// Until Lambda asks the process to end. What is undelivered then is in the outbox.
async fn terminated() {
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be handled");
            std::future::pending::<()>().await;
        }
    }
}

/// Delivers, and never panics: an extension that does ends the process.
async fn flush(audit: &AuditTrail, deadline: Instant) {
    let end = (Instant::now() + FLUSH_LIMIT).min(deadline - FLUSH_RESERVE);
    audit.begin_invocation();
    if AssertUnwindSafe(audit.flush(end)).catch_unwind().await.is_err() {
        tracing::error!("delivering audit events panicked; they stay in the outbox");
    }
}

/// From an event to a response: never fails, never panics, never runs out of time.
///
/// # Errors
/// None: the runtime wants a `Result`.
pub async fn respond<H>(
    app: &App,
    handler: &H,
    event: LambdaEvent<Value>,
) -> Result<ApiGatewayV2httpResponse, Infallible>
where
    H: AsyncFn(&App, &Request) -> Result<Reply, Problem>,
{
    let LambdaEvent { payload, context } = event;
    let end = (Instant::now() + HANDLER_LIMIT).min(deadline_of(context.deadline) - ANSWER_RESERVE);
    let request_id = gateway_request_id(&payload).unwrap_or(&context.request_id).to_owned();
    let request = Request::read(payload, &request_id);
    let answer = async {
        let request = request?;
        let handled = AssertUnwindSafe(handler(app, &request)).catch_unwind();
        match tokio::time::timeout_at(end.into(), handled).await {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => Err(Problem::Bug("the handler panicked".to_owned())),
            Err(_elapsed) => Err(Problem::TooSlow),
        }
    };
    Ok(match answer.await {
        Ok(reply) => response(reply.status, "application/json", reply.headers, reply.body),
        Err(problem) => {
            let (status, code, cause) = (problem.status(), problem.code(), problem.cause());
            if status.is_server_error() {
                tracing::error!(request_id, status = status.as_u16(), code, cause, "the request failed");
            } else {
                tracing::info!(request_id, status = status.as_u16(), code, "the request was refused");
            }
            let headers = problem.headers();
            // A problem has nothing in it that could not be turned into JSON.
            let body = serde_json::to_string(&problem.view(&request_id)).unwrap_or_default();
            response(status, "application/problem+json", headers, body)
        }
    })
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
) -> ApiGatewayV2httpResponse {
    let mut response = ApiGatewayV2httpResponse::default();
    response.status_code = status.as_u16().into();
    response.headers.insert("content-type", HeaderValue::from_static(content_type));
    // Answers are about one moment and one caller.
    response.headers.insert("cache-control", HeaderValue::from_static("no-store"));
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers.insert(HeaderName::from_static(name), value);
        }
    }
    response.body = Some(Body::Text(body));
    response
}

/// Counts the invocations that are over: their response has been posted, whatever became of the handler. A layer around
/// the whole runtime counts, because a handler that fails, panics, or is never called for a bad event could not.
#[derive(Clone, Default)]
struct Finished(watch::Sender<Progress>);

#[derive(Default)]
struct Progress {
    begun: u64,
    over: u64,
    last: String,
}

impl Progress {
    fn is_idle(&self) -> bool {
        self.begun <= self.over
    }
}

impl Finished {
    fn begin(&self) {
        self.0.send_modify(|progress| progress.begun += 1);
    }

    fn record(&self, request_id: String) {
        self.0.send_modify(|progress| {
            progress.over += 1;
            progress.last = request_id;
        });
    }

    /// Waits for the invocation that is under way; `false` when there is none, or it did not end in time. On Lambda there
    /// is none, because it waits for the extension; `cargo lambda watch` does not wait, and drops the event that would
    /// have woken the extension for it.
    async fn wait_for_another(&self, deadline: Instant) -> bool {
        let mut progress = self.0.subscribe();
        if progress.borrow_and_update().is_idle() {
            return false;
        }
        tokio::time::timeout_at(deadline.into(), progress.wait_for(Progress::is_idle)).await.is_ok()
    }

    /// Waits until this invocation is over: it is the last one that was, or the next one that will be, for there is no
    /// other at the same time. A signal left from an earlier invocation does not end the wait. (`cargo lambda watch`
    /// sends every extension the events of all functions, so that the id alone is not enough to go by.)
    async fn wait_for(&self, request_id: &str, deadline: Instant) {
        let mut progress = self.0.subscribe();
        let before = progress.borrow().over;
        let over = progress.wait_for(|progress| progress.over > before || progress.last == request_id);
        if tokio::time::timeout_at(deadline.into(), over).await.is_err() {
            tracing::debug!(request_id, "the invocation did not end before its deadline");
        }
    }
}

impl<S> Layer<S> for Finished {
    type Service = RecordFinished<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RecordFinished { inner, finished: self.clone() }
    }
}

struct RecordFinished<S> {
    inner: S,
    finished: Finished,
}

type Recorder = Box<dyn FnOnce(Result<(), Error>) -> Result<(), Error> + Send>;

impl<S> Service<LambdaInvocation> for RecordFinished<S>
where
    S: Service<LambdaInvocation, Response = (), Error = Error>,
{
    type Response = ();
    type Error = Error;
    type Future = Map<S::Future, Recorder>;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let request_id = invocation.context.request_id.clone();
        let finished = self.finished.clone();
        finished.begin();
        let record: Recorder = Box::new(move |result| {
            finished.record(request_id);
            result
        });
        self.inner.call(invocation).map(record)
    }
}

//! The run loops of the functions.

mod custom_resource;
mod deadline;
mod extension;
mod main;
mod respond;

use std::fmt::Debug;
use std::sync::OnceLock;

use futures_util::FutureExt;
use lambda_extension::Extension;
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{LambdaInvocation, Runtime};
use serde::Serialize;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tower::{Service, service_fn};

pub use custom_resource::{CustomResource, RequestType, join_reasons};
pub use deadline::deadline_of;
pub use lambda_runtime::{Diagnostic, Error, LambdaEvent};
pub use main::main;
pub use respond::respond;

use crate::app::App;
use crate::error::chain;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::views::Reply;
use crate::processor::TickError;
use crate::verify::VerifyError;
use extension::InvocationTracker;

/// Yields needed before the request to register the extension is on the wire.
const YIELDS_UNTIL_REGISTERING: usize = 3;

/// Serves an endpoint that writes: runs the handler for each request, and delivers its audit events after the response.
/// The app is built while Lambda registers the extension.
///
/// # Errors
/// Those of `build`, and the runtime's when it cannot continue.
pub async fn serve<E, H>(build: impl FnOnce() -> Result<App, E>, handler: H) -> Result<(), Error>
where
    E: Into<Error>,
    H: AsyncFn(&App, &Request) -> Result<Reply, Problem>,
{
    let app = OnceLock::new();
    let invocations = InvocationTracker::default();
    let on_event = service_fn(|event| {
        let audit = app.get().map(|app: &App| &*app.audit);
        extension::on_event(audit, invocations.clone(), event)
    });
    // Registered before the runtime asks for its first event: extensions can only register during init. If it fails, the
    // function serves requests anyway, and the processor's sweep delivers.
    let registering = Extension::new()
        .with_extension_name("audit-flush")
        .with_events(&["INVOKE"])
        .with_events_processor(on_event)
        .register();
    let building = async {
        // Builds while Lambda responds to the registration.
        for _ in 0..YIELDS_UNTIL_REGISTERING {
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
    let runtime = Runtime::new(service_fn(|event| respond(app, &handler, event)));
    let runtime = runtime.layer(TracingLayer::new()).layer(invocations.clone());
    tokio::select! {
        ended = runtime.run() => ended,
        () = delivering => Ok(()),
        () = terminated() => Ok(()),
    }
}

/// Serves an endpoint that only reads: it writes no events, so there is nothing to deliver.
///
/// # Errors
/// The runtime's, when it cannot continue.
pub async fn serve_reads<A, H>(app: &A, handler: H) -> Result<(), Error>
where
    H: AsyncFn(&A, &Request) -> Result<Reply, Problem>,
{
    run(Runtime::new(service_fn(|event| respond(app, &handler, event)))).await
}

/// What a function that is not an HTTP endpoint returns.
#[derive(Serialize)]
#[serde(untagged)]
enum Returned<T> {
    Result(T),
    Checked { check: &'static str },
}

/// Serves a function that is not an HTTP endpoint: any event in, a JSON result out. `{"check": true}` only asks whether the
/// function starts, and does nothing.
///
/// # Errors
/// The runtime's, when it cannot continue.
pub async fn serve_events<H, T, E>(handler: H) -> Result<(), Error>
where
    H: AsyncFn(LambdaEvent<Value>) -> Result<T, E>,
    T: Serialize,
    E: Into<Diagnostic> + Debug,
{
    // The runtime logs an error as `Debug` shows it: as a diagnostic, with its documented name.
    let handle = async |event: LambdaEvent<Value>| {
        if event.payload["check"] == true {
            return Ok(Returned::Checked { check: "passed" });
        }
        handler(event).await.map(Returned::Result).map_err(Into::<Diagnostic>::into)
    };
    run(Runtime::new(service_fn(handle))).await
}

async fn run<S>(runtime: Runtime<S>) -> Result<(), Error>
where
    S: Service<LambdaInvocation, Response = (), Error = Error>,
{
    tokio::select! {
        // With the ids of the request and of the trace in every line.
        ended = runtime.layer(TracingLayer::new()).run() => ended,
        () = terminated() => Ok(()),
    }
}

/// A failed tick as Lambda counts it.
impl From<TickError> for Diagnostic {
    fn from(error: TickError) -> Self {
        diagnostic(error.name(), &error)
    }
}

/// A failed verification as Lambda counts it.
impl From<VerifyError> for Diagnostic {
    fn from(error: VerifyError) -> Self {
        diagnostic(error.name(), &error)
    }
}

fn diagnostic(name: &str, error: &(dyn std::error::Error + 'static)) -> Diagnostic {
    Diagnostic { error_type: name.to_owned(), error_message: chain(error) }
}

/// Resolves when Lambda asks the process to end. Undelivered events are in the outbox then.
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

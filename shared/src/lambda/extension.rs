//! Delivers audit events after the response.
//!
//! Lambda freezes the environment after the response, and every spawned task with it. An internal extension is not frozen:
//! Lambda waits until both the runtime and the extension have asked for the next event. So the extension waits until the
//! response has been posted, delivers what the invocation wrote, and only then asks.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::Map;
use lambda_extension::{InvokeEvent, LambdaEvent, NextEvent};
use lambda_runtime::{Error, LambdaInvocation};
use tokio::sync::watch;
use tower::{Layer, Service};

use super::deadline::deadline_of;
use crate::audit::AuditTrail;

/// Limit for a delivery after a response.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);
/// Left of an invocation's time when a delivery ends.
const FLUSH_RESERVE: Duration = Duration::from_millis(300);

/// Handles an extension event: waits for the response of the invocation, then delivers its audit events.
///
/// # Errors
/// None: an extension that returns an error ends the process.
pub(super) async fn on_event(
    audit: Option<&AuditTrail>,
    invocations: InvocationTracker,
    event: LambdaEvent,
) -> Result<(), Infallible> {
    if let (NextEvent::Invoke(InvokeEvent { deadline_ms, request_id, .. }), Some(audit)) = (event.next, audit)
    {
        let deadline = deadline_of(deadline_ms);
        invocations.wait_for(&request_id, deadline - FLUSH_RESERVE).await;
        flush(audit, deadline).await;
        while invocations.wait_for_another(deadline - FLUSH_RESERVE).await {
            flush(audit, deadline).await;
        }
    }
    Ok(())
}

/// Delivers, and never panics: a panic in an extension ends the process.
async fn flush(audit: &AuditTrail, deadline: Instant) {
    let end = (Instant::now() + FLUSH_LIMIT).min(deadline - FLUSH_RESERVE);
    audit.begin_invocation();
    if AssertUnwindSafe(audit.flush(end)).catch_unwind().await.is_err() {
        tracing::error!("delivering audit events panicked; they stay in the outbox");
    }
}

/// Counts finished invocations: those whose response has been posted, whatever the handler did. It is a layer around the
/// whole runtime, because a handler that fails, panics, or is never called for an invalid event could not count.
#[derive(Clone, Default)]
pub(super) struct InvocationTracker(watch::Sender<Invocations>);

#[derive(Default)]
struct Invocations {
    started: u64,
    finished: u64,
    last_finished: String,
}

impl Invocations {
    fn is_idle(&self) -> bool {
        self.started <= self.finished
    }
}

impl InvocationTracker {
    fn start(&self) {
        self.0.send_modify(|invocations| invocations.started += 1);
    }

    fn finish(&self, request_id: String) {
        self.0.send_modify(|invocations| {
            invocations.finished += 1;
            invocations.last_finished = request_id;
        });
    }

    /// Waits for the invocation in progress; `false` when there is none, or it did not finish in time. On Lambda there is
    /// none, because Lambda waits for the extension; `cargo lambda watch` does not wait, and drops the event for it.
    async fn wait_for_another(&self, deadline: Instant) -> bool {
        let mut invocations = self.0.subscribe();
        if invocations.borrow_and_update().is_idle() {
            return false;
        }
        tokio::time::timeout_at(deadline.into(), invocations.wait_for(Invocations::is_idle)).await.is_ok()
    }

    /// Waits until this invocation has finished: invocations do not overlap, so it is either the last one that finished
    /// or the next one that will. A signal left from an earlier invocation does not end the wait. The id alone is not
    /// enough: `cargo lambda watch` sends every extension the events of all functions.
    async fn wait_for(&self, request_id: &str, deadline: Instant) {
        let mut invocations = self.0.subscribe();
        let before = invocations.borrow().finished;
        let finished = invocations.wait_for(|now| now.finished > before || now.last_finished == request_id);
        if tokio::time::timeout_at(deadline.into(), finished).await.is_err() {
            tracing::debug!(request_id, "the invocation did not end before its deadline");
        }
    }
}

impl<S> Layer<S> for InvocationTracker {
    type Service = Tracked<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Tracked { inner, invocations: self.clone() }
    }
}

/// A runtime whose invocations are tracked.
pub(super) struct Tracked<S> {
    inner: S,
    invocations: InvocationTracker,
}

type OnFinish = Box<dyn FnOnce(Result<(), Error>) -> Result<(), Error> + Send>;

impl<S> Service<LambdaInvocation> for Tracked<S>
where
    S: Service<LambdaInvocation, Response = (), Error = Error>,
{
    type Response = ();
    type Error = Error;
    type Future = Map<S::Future, OnFinish>;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let request_id = invocation.context.request_id.clone();
        let invocations = self.invocations.clone();
        invocations.start();
        let on_finish: OnFinish = Box::new(move |result| {
            invocations.finish(request_id);
            result
        });
        self.inner.call(invocation).map(on_finish)
    }
}

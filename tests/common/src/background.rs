//! One runtime for everything that has to go on beside a test: Runtime API servers, time limits, cleaning up.
//!
//! `#[tokio::test]` gives every test a runtime of its own that stands still while the test computes and is gone when it
//! ends; a function's time limit or the dropping of its database must not depend on that.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Runs `future` on the harness's own runtime, whatever becomes of the caller's.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(2).thread_name("harness").enable_all();
            builder.build().expect("the operating system gives two threads")
        })
        .spawn(future)
}

/// Runs `future` on the harness's own runtime and waits for it here.
pub async fn run<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match spawn(future).await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => unreachable!("nobody cancels tasks of the background runtime: {error}"),
        },
    }
}

//! The stand-in and AWS's Runtime Interface Emulator (RIE) with the same function and the same events: they have to agree,
//! unless a test says in what they differ. And what the RIE does not have: freezing, the end of an environment.

#![cfg(target_os = "linux")] // the RIE is a Linux program
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agreement;
mod extensions;
mod phases;
mod rie;

use std::path::PathBuf;
use std::time::Duration;

use lambda_stand_in::{Env, Function, Launch, Outcome};
use serde_json::{Value, json};

use rie::Rie;

/// The function's time limit.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What a caller observes.
#[derive(Clone, Debug, PartialEq)]
enum Observed {
    Result(Value),
    /// An error, with its type.
    Error(String),
    TimedOut,
}

impl Observed {
    #[track_caller]
    fn result(self) -> Value {
        match self {
            Self::Result(value) => value,
            other => panic!("expected a result, got {other:?}"),
        }
    }

    fn error(error_type: &str) -> Self {
        Self::Error(error_type.to_owned())
    }
}

/// The same function in both.
struct Both {
    ours: Function,
    rie: Rie,
}

impl Both {
    async fn start(env: &[(&str, &str)]) -> Self {
        Self { ours: launch(env).start().await.unwrap(), rie: Rie::start(env).await }
    }

    /// Invokes both; what the stand-in answered, and what the RIE did.
    async fn invoke(&self, event: &Value) -> (Observed, Observed) {
        (observe(&self.ours, event).await, self.rie.invoke(event).await)
    }

    /// Invokes both, which have to agree; gives the answer.
    async fn agree(&self, event: &Value) -> Observed {
        let (ours, theirs) = self.invoke(event).await;
        assert_eq!(ours, theirs, "{event}; left: the stand-in, right: the RIE");
        ours
    }

    /// Has both do a thing.
    async fn agree_to(&self, what: &str) -> Observed {
        self.agree(&json!({ "do": what })).await
    }
}

fn probe() -> PathBuf {
    env!("CARGO_BIN_EXE_probe").into()
}

/// The function in the stand-in.
fn launch(env: &[(&str, &str)]) -> Launch {
    let env = env.iter().fold(Env::new(), |env, (name, value)| env.set(name, *value));
    Launch::of("probe").program(probe(), &[]).env(env).timeout(TIMEOUT)
}

async fn observe(function: &Function, event: &Value) -> Observed {
    match function.invoke(event).await.outcome {
        Outcome::Ok(value) => Observed::Result(value),
        Outcome::FunctionError(error) => Observed::Error(error.error_type),
        Outcome::TimedOut => Observed::TimedOut,
    }
}

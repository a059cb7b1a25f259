//! Cold starts: from the start of a function's process to its first request for an event, and to the first answer.

use std::time::{Duration, Instant};

use harness::api::Api;
use harness::gateway::Response;
use harness::lambda::{Env, Function, Launch};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;

use crate::inside;
use crate::series::in_turn;
use crate::statements::Bare;
use crate::table::Table;
use crate::warm::create_event;

const ROUNDS: usize = 40;
const FLAG: &str = "bench";

/// Measures init of all functions that somebody waits for, and the first create.
pub async fn measure(table: &mut Table) {
    let api = Api::start().await;
    api.flag(FLAG, "production").await;
    for (function, goal) in [
        ("create-schedule", 1.7),
        ("list-schedules", 2.0),
        ("cancel-schedule", 2.0),
        ("schedule-processor", 2.0),
    ] {
        init(table, &api, function, goal).await;
    }
    first_create(table, &api).await;
}

async fn init(table: &mut Table, api: &Api, function: &str, goal: f64) {
    let (measured, floor) = in_turn(
        ROUNDS,
        async || start(function, api.env(function)).await.init_after().expect("it runs"),
        async || start("hello-world", Env::new()).await.init_after().expect("it runs"),
    )
    .await;
    let what = format!("cold start of {function}, until it asks for an event");
    table.compare(&what, &measured, ("hello-world", &floor), Some(goal));
}

/// The floor is what nobody can do without, one after the other: a process that answers at all, a connection, the
/// statement on it, and a signature.
async fn first_create(table: &mut Table, api: &Api) {
    inside::create(api).await;
    let bare = Bare::connect(api).await;
    let (measured, floor) = in_turn(
        ROUNDS,
        async || first_answer(api, "create-schedule", api.env("create-schedule"), 201).await,
        async || {
            let hello = first_answer(api, "hello-world", Env::new(), 200).await;
            let begun = Instant::now();
            bare.again(api).await.create(FLAG).await;
            let statement = begun.elapsed();
            hello + statement + verification(api)
        },
    )
    .await;
    let floor = ("hello-world's first answer, a connection, the statement, one signature", &*floor);
    table.compare("cold start of create-schedule, until the first answer", &measured, floor, Some(1.5));
}

async fn first_answer(api: &Api, function: &str, env: Env, status: u16) -> Duration {
    let event = create_event(&api.admin()).event();
    let begun = Instant::now();
    let function = start(function, env).await;
    let started = begun.elapsed();
    // The harness looks at an answer before it gives it out; that is not the function's time.
    let invocation = function.invoke(&event).await;
    let took = started + invocation.response_after;
    let answer = Response::of(invocation);
    assert_eq!(answer.status, status, "{answer:?}");
    took
}

/// A process that is not frozen between its start and its first event.
async fn start(function: &str, env: Env) -> Function {
    let started = Launch::of(function).env(env).freeze(false).start().await;
    started.unwrap_or_else(|error| panic!("{error}"))
}

fn verification(api: &Api) -> Duration {
    let (token, jwk) = (api.admin(), api.keys.jwk());
    let begun = Instant::now();
    let jwk: Jwk = serde_json::from_value(jwk).expect("a key");
    let key = DecodingKey::from_jwk(&jwk).expect("a key");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[harness::tokens::AUDIENCE]);
    validation.set_issuer(&[harness::tokens::ISSUER]);
    decode::<Value>(&token, &key, &validation).expect("a valid token");
    begun.elapsed()
}

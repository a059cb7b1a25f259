//! The endpoints in process, on a database of their own.

use std::time::{Duration, Instant};

use flag_schedules::app::{App, ReadApp};
use flag_schedules::lambda::{LambdaEvent, respond};
use harness::database::Database;
use harness::gateway::Response;
use harness::lambda::{Invocation, Outcome};
use harness::tokens::{AUDIENCE, ISSUER, Keys};
use serde_json::{Value, json};

/// Nothing takes this long: an answer that does is a hang.
const HANG: Duration = Duration::from_secs(10);
/// Lambda's id of all invocations.
pub const LAMBDA_REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// `POST`
    Create,
    /// `GET`
    List,
    /// `DELETE`
    Cancel,
}

/// The endpoints.
pub struct Service {
    app: App,
    reader: ReadApp,
    /// Its database.
    pub database: Database,
}

impl Service {
    /// The endpoints, with the keys of these pairs.
    pub async fn start(keys: &[&Keys]) -> Self {
        let database = Database::migrated().await;
        let jwks = json!({"keys": keys.iter().map(|keys| keys.jwk()).collect::<Vec<_>>()}).to_string();
        let lookup = |name: &str| match name {
            "DATABASE_URL" => Some(database.url()),
            "AUTH_JWKS" => Some(jwks.clone()),
            "AUTH_ISSUER" => Some(ISSUER.to_owned()),
            "AUTH_AUDIENCE" => Some(AUDIENCE.to_owned()),
            _ => None,
        };
        let app = App::with("fuzz", &lookup).unwrap_or_else(|error| panic!("{error}"));
        let reader = ReadApp::with(&lookup).unwrap_or_else(|error| panic!("{error}"));
        Self { app, reader, database }
    }

    /// Creates a flag.
    pub async fn flag(&self, key: &str, environment: &str) {
        let sql = "insert into feature_flags (flag_key, environment) values ($1, $2)";
        self.database.connect().await.execute(sql, &[&key, &environment]).await.unwrap();
    }

    /// What API Gateway makes of the answer to an event.
    pub async fn answer(&self, endpoint: Endpoint, event: &Value) -> Result<Response, String> {
        // As the runtime does: from JSON and to JSON.
        let payload = serde_json::from_slice(event.to_string().as_bytes()).map_err(|e| e.to_string())?;
        let mut event = LambdaEvent::new(payload, Default::default());
        event.context.request_id = LAMBDA_REQUEST_ID.to_owned();
        let begun = Instant::now();
        let answered = tokio::time::timeout(HANG, async {
            match endpoint {
                Endpoint::Create => respond(&self.app, &create_schedule::handle, event).await,
                Endpoint::List => respond(&self.reader, &list_schedules::handle, event).await,
                Endpoint::Cancel => respond(&self.app, &cancel_schedule::handle, event).await,
            }
        });
        let Ok(response) = answered.await.map_err(|_| format!("no answer within {HANG:?}"))?;
        let outcome = Outcome::Ok(serde_json::to_value(response).map_err(|e| e.to_string())?);
        let response_after = begun.elapsed();
        let request_id = LAMBDA_REQUEST_ID.to_owned();
        Ok(Response::of(Invocation { request_id, outcome, response_after }))
    }
}

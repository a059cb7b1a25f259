//! The whole service for one test: a database and a log group of its own, and the functions, started when first used.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::cloudwatch::CloudWatch;
use crate::database::Database;
use crate::gateway::{Request, Response};
use crate::lambda::{Env, Function, Invocation, Launch};
use crate::logs::{ACCESS_KEY_ID, LogGroup, Logs, REGION, SECRET_ACCESS_KEY};
use crate::postgres::as_role;
use crate::tokens::{AUDIENCE, ISSUER, Keys, Token};
use crate::{audit_events, clock, openapi, settings};

pub use local_stack::endpoints::{ACROSS_FLAGS, AUDITING, ENDPOINTS, FUNCTIONS, ROLES, SCHEDULE, SCHEDULES};

/// How long anything may take that is not the subject of a test.
const LIMIT: Duration = Duration::from_secs(30);

/// The service, set up for one test.
#[derive(Debug)]
pub struct Api {
    pub keys: Keys,
    pub database: Database,
    pub group: LogGroup,
    setup: Setup,
    functions: [OnceCell<Function>; FUNCTIONS.len()],
}

type Change = fn(Launch) -> Launch;

/// What differs from the usual; ends with `start`.
#[derive(Debug, Default)]
pub struct Setup {
    database: Option<Database>,
    logs_endpoint: Option<String>,
    everywhere: BTreeMap<String, Option<String>>,
    env: BTreeMap<(String, String), Option<String>>,
    launch: BTreeMap<String, Change>,
}

impl Setup {
    /// Another database than a migrated one of its own.
    #[must_use]
    pub fn database(mut self, database: Database) -> Self {
        self.database = Some(database);
        self
    }

    /// Another CloudWatch Logs than the emulator: the events go there and are read from there.
    #[must_use]
    pub fn cloudwatch(mut self, cloudwatch: &CloudWatch) -> Self {
        self.logs_endpoint = Some(cloudwatch.endpoint());
        self
    }

    /// A variable of all functions, other than usual; none removes it.
    #[must_use]
    pub fn env_everywhere(mut self, name: &str, value: Option<&str>) -> Self {
        self.everywhere.insert(name.to_owned(), value.map(str::to_owned));
        self
    }

    /// A variable of one function, other than usual; none removes it.
    #[must_use]
    pub fn env(mut self, function: &str, name: &str, value: Option<&str>) -> Self {
        self.env.insert((function.to_owned(), name.to_owned()), value.map(str::to_owned));
        self
    }

    /// Every function signs in with its own role, at the service's address.
    #[must_use]
    pub fn as_roles(self, url: &str) -> Self {
        ROLES.iter().fold(self, |setup, (function, role)| {
            setup.env(function, "DATABASE_URL", Some(&as_role(url, role)))
        })
    }

    /// How one function is run, other than usual.
    #[must_use]
    pub fn launch(mut self, function: &str, change: Change) -> Self {
        self.launch.insert(function.to_owned(), change);
        self
    }

    /// Sets it up; no function is started yet.
    pub async fn start(mut self) -> Api {
        let emulator = || settings::of_the_test_stack(settings::TEST_LOGS_ENDPOINT);
        let logs = Logs::at(&self.logs_endpoint.clone().unwrap_or_else(emulator));
        let name = format!("/flag-schedules/test/{}", Uuid::new_v4().simple());
        let group = LogGroup::create(logs, &name, &AUDITING).await.unwrap_or_else(|error| panic!("{error}"));
        let database = match self.database.take() {
            Some(database) => database,
            None => Database::migrated().await,
        };
        Api { keys: Keys::generate(), database, group, setup: self, functions: Default::default() }
    }
}

impl Api {
    /// The usual service.
    pub async fn start() -> Self {
        Self::with().start().await
    }

    /// A service that differs from the usual one.
    pub fn with() -> Setup {
        Setup::default()
    }

    /// A valid token of an admin, to be changed.
    pub fn token(&self) -> Token<'_> {
        self.keys.token()
    }

    /// A valid token of an admin.
    pub fn admin(&self) -> String {
        self.token().sign()
    }

    pub fn env(&self, function: &str) -> Env {
        let env = Env::new()
            .set("DATABASE_URL", self.database.url())
            .set("DATABASE_PREPARE", "on")
            // A tick ends at once; what waits is for the tests that are about it.
            .set("TICK_WATCH", "off")
            .set("AUTH_JWKS", self.keys.jwks().to_string())
            .set("AUTH_ISSUER", ISSUER)
            .set("AUTH_AUDIENCE", AUDIENCE)
            .set("AUDIT_LOG_GROUP", self.group.name())
            .set("AWS_ENDPOINT_URL", self.group.logs().endpoint())
            .set("AWS_REGION", REGION)
            .set("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .set("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
        let of_this = self.setup.env.iter().filter(|((name, _), _)| name == function);
        let changes = self.setup.everywhere.iter().chain(of_this.map(|((_, name), value)| (name, value)));
        changes.fold(env, |env, (name, value)| match value {
            Some(value) => env.set(name, value),
            None => env.unset(name),
        })
    }

    /// One more environment of a function, besides the one that the calls here use.
    pub async fn another(&self, function: &str) -> Function {
        let launch = checked(function).env(self.env(function));
        let launch = self.setup.launch.get(function).map_or(launch.clone(), |change| change(launch));
        launch.start().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A function of this service, started when first asked for.
    pub async fn function(&self, name: &str) -> &Function {
        let index = FUNCTIONS.iter().position(|function| *function == name);
        let index = index.unwrap_or_else(|| panic!("there is no function {name}"));
        self.functions[index].get_or_init(|| self.another(name)).await
    }

    /// Sends a request to the function that its method and route lead to.
    pub async fn send(&self, request: &Request) -> Response {
        let function = self.function(function_of(request)).await;
        let invocation = function.invoke(&request.event()).await;
        if !matches!(invocation.outcome, crate::lambda::Outcome::Ok(_)) {
            let logs = function.logs();
            let tail = logs[logs.len().saturating_sub(20)..].join("\n");
            panic!("{} did not answer: {:?}; its last lines:\n{tail}", function.name(), invocation.outcome);
        }
        Response::of(invocation)
    }

    /// Creates a schedule; `query` is what follows the `?`.
    pub async fn create(&self, token: &str, flag: &str, query: &str, body: &Value) -> Response {
        self.send(&create_request(flag, query, body).bearer(token)).await
    }

    pub async fn list(&self, token: &str, flag: &str, query: &str) -> Response {
        self.send(&list_request(flag, query).bearer(token)).await
    }

    pub async fn find(&self, token: &str, flag: &str, schedule: &str, query: &str) -> Response {
        self.send(&find_request(flag, schedule, query).bearer(token)).await
    }

    pub async fn list_across_flags(&self, token: &str, query: &str) -> Response {
        self.send(&Request::new("GET", ACROSS_FLAGS).query(query).bearer(token)).await
    }

    pub async fn cancel(&self, token: &str, flag: &str, schedule: &str, query: &str) -> Response {
        self.send(&cancel_request(flag, schedule, query).bearer(token)).await
    }

    /// One run of the processor.
    pub async fn tick(&self) -> Invocation {
        self.function("schedule-processor").await.invoke(&tick_event()).await
    }

    /// Creates a flag, disabled and at 0 %.
    pub async fn flag(&self, key: &str, environment: &str) -> Uuid {
        let sql = "insert into feature_flags (flag_key, environment) values ($1, $2) returning id";
        let client = self.database.connect().await;
        client
            .query_one(sql, &[&key, &environment])
            .await
            .unwrap_or_else(|error| panic!("no flag {key}: {error}"))
            .get(0)
    }

    /// `enabled` and `rollout_percentage` of a flag.
    pub async fn flag_state(&self, key: &str, environment: &str) -> (bool, i32) {
        let sql =
            "select enabled, rollout_percentage from feature_flags where flag_key = $1 and environment = $2";
        let client = self.database.connect().await;
        let row = client.query_one(sql, &[&key, &environment]).await;
        let row = row.unwrap_or_else(|error| panic!("no flag {key}: {error}"));
        (row.get(0), row.get(1))
    }

    /// Moves a schedule's time to `ago` before now: time is moved in tests, never slept on.
    pub async fn make_due(&self, schedule: &str, ago: Duration) {
        let id: Uuid = schedule.parse().unwrap_or_else(|error| panic!("{schedule} is no UUID: {error}"));
        let sql = "update feature_flag_schedules set scheduled_at = now() - make_interval(secs => $2) where id = $1";
        let changed = self.database.connect().await.execute(sql, &[&id, &ago.as_secs_f64()]).await;
        assert_eq!(changed.unwrap_or_else(|error| panic!("{error}")), 1, "there is no schedule {schedule}");
    }

    /// Waits until all functions are at rest: what they send after the answer is sent.
    pub async fn settle(&self) {
        for function in self.functions.iter().filter_map(OnceCell::get) {
            function.settled(LIMIT).await;
        }
    }

    /// All audit events that have arrived once the functions are at rest, oldest first; each is checked against the schema.
    pub async fn events(&self) -> Vec<Value> {
        self.settle().await;
        let events = self.group.events().await.unwrap_or_else(|error| panic!("{error}"));
        events.iter().for_each(audit_events::assert_valid);
        events
    }

    /// Waits for audit events until `enough` says so.
    pub async fn wait_for_events(&self, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let events =
            self.group.wait_for_events(enough, LIMIT).await.unwrap_or_else(|error| panic!("{error}"));
        events.iter().for_each(audit_events::assert_valid);
        events
    }
}

/// A function whose results are checked against the OpenAPI description.
pub fn checked(function: &str) -> Launch {
    Launch::of(function).check(openapi::assert_described)
}

/// A request that creates a schedule, without a token.
pub fn create_request(flag: &str, query: &str, body: &Value) -> Request {
    Request::new("POST", SCHEDULES).path_parameter("flagKey", flag).query(query).json(body)
}

/// A request for a flag's schedules, without a token.
pub fn list_request(flag: &str, query: &str) -> Request {
    Request::new("GET", SCHEDULES).path_parameter("flagKey", flag).query(query)
}

/// A request for one schedule, without a token.
pub fn find_request(flag: &str, schedule: &str, query: &str) -> Request {
    let request = Request::new("GET", SCHEDULE).path_parameter("flagKey", flag);
    request.path_parameter("scheduleId", schedule).query(query)
}

/// A request that cancels a schedule, without a token.
pub fn cancel_request(flag: &str, schedule: &str, query: &str) -> Request {
    let request = Request::new("DELETE", SCHEDULE).path_parameter("flagKey", flag);
    request.path_parameter("scheduleId", schedule).query(query)
}

fn function_of(request: &Request) -> &'static str {
    let (method, route) = request.endpoint();
    let endpoint = ENDPOINTS.iter().find(|(other, pattern, _)| (*other, *pattern) == (method, route));
    endpoint.map_or_else(|| panic!("no function serves {method} {route}"), |(.., function)| function)
}

/// EventBridge's event for a rule with a schedule.
pub fn tick_event() -> Value {
    json!({
        "version": "0",
        "id": Uuid::new_v4(),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": clock::now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": REGION,
        "resources": [format!("arn:aws:events:{REGION}:000000000000:rule/schedule-processor")],
        "detail": {},
    })
}

//! The schema: made from nothing, adopted from another tool, brought up to date by the real `migrate` function.

mod adopted;
mod checksums;
pub mod cloudformation;
mod concurrent;
mod custom_resource;
mod empty;
mod failing;
mod line_endings;
mod out_of_time;
mod pooled;
pub(crate) mod schema;
mod shapes;
mod strangers;
mod unreadable_event;
mod unusable;
mod waiting;

use std::time::{Duration, Instant};

use harness::database::Database;
use harness::lambda::{Env, Function, Launch};
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::LIMIT;

/// The `migrate` function on the database at this address.
async fn migrate_at(url: &str) -> Function {
    migrate_within(LIMIT, url).await
}

/// The same with this time limit for an invocation.
async fn migrate_within(limit: Duration, url: &str) -> Function {
    let migrate = Launch::of("migrate").env(Env::new().set("DATABASE_URL", url)).timeout(limit);
    migrate.start().await.unwrap_or_else(|error| panic!("{error}"))
}

/// The `migrate` function on a database.
async fn migrate_on(database: &Database) -> Function {
    migrate_at(&database.url()).await
}

/// Invokes `migrate` plainly, as an operator would; gives its result.
async fn run(migrate: &Function) -> Value {
    migrate.invoke(&event("migrate.json")).await.value()
}

/// Invokes `migrate` plainly on a database where it is bound to fail; gives what it says.
async fn refusal(migrate: &Function) -> String {
    let error = migrate.invoke(&event("migrate.json")).await.error();
    assert_eq!(error.error_type, "MigrationFailed", "{error}");
    error.message
}

/// One of the sample events.
fn event(file: &str) -> Value {
    let path = harness::settings::workspace().join("events").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all migrations, in order, as the function reports them.
pub(crate) fn names() -> Vec<String> {
    checksums::files().into_keys().map(|file| file.trim_end_matches(".sql").to_owned()).collect()
}

/// Runs statements that are part of a test's setting.
async fn execute(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Waits until a query that gives one truth value says so.
async fn until(client: &Client, sql: &str) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let row = client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        if row.get(0) {
            return;
        }
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {sql}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

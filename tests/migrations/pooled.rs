//! Through PgBouncer in transaction mode: every function works, and `migrate` leaves nothing in a pooled connection.

use std::time::{Duration, Instant};

use harness::api::Api;
use harness::database::Database;
use harness::pgbouncer::PgBouncer;
use harness::proxy::Mode;
use serde_json::json;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{execute, migrate_at, names, refusal, run, schema};
use crate::support::{A_MOMENT, LIMIT, text, turn_on};

async fn pooled(database: &Database, size: usize) -> PgBouncer {
    PgBouncer::before(&database.url(), size).await.unwrap_or_else(|error| panic!("{error}"))
}

/// What a session could have left behind, as a simple query: there is no named statement in a pool.
async fn session(client: &Client) -> Vec<String> {
    let mut values = Vec::new();
    for sql in [
        "select name || '=' || setting from pg_settings
         where name in ('lock_timeout', 'statement_timeout', 'search_path', 'default_transaction_isolation',
            'idle_in_transaction_session_timeout', 'transaction_isolation', 'transaction_timeout') order by name",
        "select 'advisory lock' from pg_locks where locktype = 'advisory' and database =
            (select oid from pg_database where datname = current_database())",
        "select 'idle in transaction' from pg_stat_activity
         where datname = current_database() and state like 'idle in transaction%'",
        "select 'prepared ' || name from pg_prepared_statements",
    ] {
        for answer in client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")) {
            if let SimpleQueryMessage::Row(row) = answer {
                values.push(row.get(0).unwrap_or_default().to_owned());
            }
        }
    }
    values
}

#[tokio::test]
async fn migrate_leaves_nothing_in_a_pooled_connection_and_can_be_run_again() {
    let database = Database::empty().await;
    let fresh = harness::postgres::connect(&database.url()).await.unwrap_or_else(|error| panic!("{error}"));
    let untouched = session(&fresh).await;
    // One server connection: whoever comes next gets the one that `migrate` has used.
    let pool = pooled(&database, 1).await;
    let client = harness::postgres::connect(&pool.url()).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(session(&client).await, untouched);
    let migrate = migrate_at(&pool.url()).await;

    let first = run(&migrate).await;
    let after_the_first = session(&client).await;
    let begun = Instant::now();
    let second = run(&migrate).await;
    let took = begun.elapsed();

    assert_eq!(first["applied"], json!(names()));
    assert_eq!(second["applied"], json!([]));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(after_the_first, untouched);
    assert_eq!(session(&client).await, untouched);
}

#[tokio::test]
async fn a_failed_migrate_leaves_nothing_in_a_pooled_connection_either() {
    let database = Database::empty().await;
    let direct = database.connect().await;
    execute(&direct, "create table audit_outbox (id int)").await;
    let pool = pooled(&database, 1).await;
    let client = harness::postgres::connect(&pool.url()).await.unwrap_or_else(|error| panic!("{error}"));
    let untouched = session(&client).await;

    let told = refusal(&migrate_at(&pool.url()).await).await;

    assert!(told.contains("audit_outbox is not ours"), "{told}");
    assert_eq!(session(&client).await, untouched);
}

#[tokio::test]
async fn of_two_migrators_in_one_pool_one_does_the_work_and_both_succeed() {
    for size in [1, 2] {
        let database = Database::empty().await;
        let pool = pooled(&database, size).await;
        let migrators = [migrate_at(&pool.url()).await, migrate_at(&pool.url()).await];

        let (first, second) = tokio::join!(run(&migrators[0]), run(&migrators[1]));

        let mut applied = [first["applied"].clone(), second["applied"].clone()];
        applied.sort_by_key(|names| names.as_array().map(Vec::len));
        assert_eq!(applied, [json!([]), json!(names())], "pool of {size}");
        assert_eq!(schema::rows(&database.connect().await, schema::HISTORY).await.len(), names().len());
    }
}

#[tokio::test]
async fn every_function_works_through_a_pool() {
    for size in [1, 2] {
        let database = Database::empty().await;
        let pool = pooled(&database, size).await;
        let url = pool.url();
        let setup = Api::with().env_everywhere("DATABASE_URL", Some(&url));
        let setup = setup.env_everywhere("DATABASE_PREPARE", None);
        let api = setup.database(database).start().await;
        api.function("migrate").await.invoke(&json!({})).await.value();
        api.flag("a", "production").await;
        let token = api.admin();

        let due = api.create(&token, "a", "", &turn_on()).await;
        let withdrawn = api.create(&token, "a", "", &turn_on()).await;
        let listed = api.list(&token, "a", "").await;
        let cancelled = api.cancel(&token, "a", text(&withdrawn.json, "id"), "").await;
        api.make_due(text(&due.json, "id"), A_MOMENT).await;
        let tick = api.tick().await.value();
        let events = api.events().await;

        let statuses = [&due, &withdrawn, &listed, &cancelled].map(|answer| answer.status);
        assert_eq!(statuses, [201, 201, 200, 200], "pool of {size}: {due:?} {listed:?} {cancelled:?}");
        assert_eq!(listed.json["schedules"].as_array().map(Vec::len), Some(2), "{listed:?}");
        assert_eq!(tick["applied"], 1, "pool of {size}: {tick:#}");
        assert_eq!(api.flag_state("a", "production").await, (true, 0));
        assert_eq!(events.len(), 4, "{events:#?}");
    }
}

#[tokio::test]
async fn migrate_waits_for_a_server_that_the_pool_does_not_reach_yet() {
    let database = Database::empty().await;
    let (proxy, through) = database.behind_proxy().await;
    proxy.set(Mode::Cut);
    let pool = PgBouncer::before(&through, 1).await.unwrap_or_else(|error| panic!("{error}"));
    let migrate = migrate_at(&pool.url()).await;

    let up = async {
        migrate.wait_for_log(|line| line.contains("trying again"), LIMIT).await;
        proxy.set(Mode::Pass);
    };
    let (result, ()) = tokio::join!(run(&migrate), up);

    assert_eq!(result["applied"], json!(names()));
}

#[tokio::test]
async fn a_wrong_password_at_the_pool_is_told_at_once() {
    let database = Database::empty().await;
    let pool = pooled(&database, 1).await;
    let url = pool.url();
    let (_, place) = url.rsplit_once('@').expect("the URL has credentials");
    let migrate = migrate_at(&format!("postgres://flag_schedules:wrong@{place}")).await;
    let begun = Instant::now();

    let told = refusal(&migrate).await;

    assert!(
        told.contains("the database is not available") && told.contains("authentication failed"),
        "{told}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(!migrate.logs().iter().any(|line| line.contains("trying again")), "{:?}", migrate.logs());
}

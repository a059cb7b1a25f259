//! Two migrators at once, and limits of the role: both succeed, one does the work.

use harness::database::Database;
use harness::lambda::Function;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{execute, migrate_on, names, refusal, run, schema, until};

/// The advisory lock that migrators take. Part of what releases have in common: an old and a new one must take the same.
pub const LOCK: i64 = 0x666c_6167_7363_6865;

/// Waits until so many migrators wait for the lock.
async fn until_waiting(client: &Client, migrators: usize) {
    let sql = format!(
        "select count(*) = {migrators} from pg_locks l join pg_database d on d.oid = l.database
         where d.datname = current_database() and l.locktype = 'advisory' and not l.granted"
    );
    until(client, &sql).await;
}

/// Two migrators that start at the same moment: both have been seen waiting for the lock.
async fn together(database: &Database, wait: impl AsyncFnOnce(&Client)) -> Vec<Value> {
    let holder = database.connect().await;
    let observer = database.connect().await;
    execute(&holder, &format!("select pg_advisory_lock({LOCK})")).await;
    let migrators: [Function; 2] = [migrate_on(database).await, migrate_on(database).await];

    let release = async {
        until_waiting(&observer, 2).await;
        wait(&observer).await;
        execute(&holder, &format!("select pg_advisory_unlock({LOCK})")).await;
    };
    let (first, second, ()) = tokio::join!(run(&migrators[0]), run(&migrators[1]), release);
    vec![first, second]
}

fn assert_one_did_the_work(results: &[Value]) {
    let all = json!({"applied": names(), "schema_version": names().last(), "release": "unknown"});
    let nothing = json!({"applied": [], "schema_version": names().last(), "release": "unknown"});
    assert!(results == [all.clone(), nothing.clone()] || results == [nothing, all], "{results:#?}");
}

#[tokio::test]
async fn of_two_migrators_at_once_one_does_the_work_and_both_succeed() {
    let database = Database::empty().await;

    let results = together(&database, async |_| {}).await;

    assert_one_did_the_work(&results);
    let usual = Database::migrated().await;
    let client = database.connect().await;
    assert_eq!(schema::structure(&client).await, schema::structure(&usual.connect().await).await);
    assert_eq!(schema::rows(&client, schema::HISTORY).await.len(), names().len());
}

#[tokio::test]
async fn a_migrator_waits_for_another_one_longer_than_the_roles_limits() {
    let database = Database::empty().await;
    limit(&database, "200ms").await;

    let results = together(&database, async |observer| {
        // Longer than either limit, by the server's own account.
        let long_enough = "select min(now() - query_start) > interval '500 ms' from pg_stat_activity
                           where datname = current_database() and wait_event_type = 'Lock'";
        until(observer, long_enough).await;
    })
    .await;

    assert_one_did_the_work(&results);
}

#[tokio::test]
async fn a_migration_may_take_longer_than_a_statement_of_the_service() {
    let database = Database::empty().await;
    limit(&database, "200ms").await;
    // Stands for a large table: making an index takes its time.
    let slow = "create function slow() returns event_trigger language plpgsql as $$ begin perform pg_sleep(0.5); end $$;
                create event trigger slow on ddl_command_end when tag in ('CREATE INDEX') execute function slow()";
    execute(&database.connect_as_superuser().await, slow).await;

    let result = run(&migrate_on(&database).await).await;

    assert_eq!(result["applied"], json!(names()));
}

#[tokio::test]
async fn a_migration_gives_a_locked_table_up_within_the_roles_limit_and_is_done_next_time() {
    let database = Database::empty().await;
    limit(&database, "200ms").await;
    let client = database.connect().await;
    execute(&client, "create table feature_flags (id uuid primary key, flag_key text not null)").await;
    let before = schema::structure(&client).await;
    let migrate = migrate_on(&database).await;
    // While a migration waits for a table, everybody else waits behind it: so it must not wait long.
    execute(&client, "begin; lock table feature_flags in row exclusive mode").await;

    let told = refusal(&migrate).await;

    execute(&client, "rollback").await;
    assert!(told.contains("create_feature_flags") && told.contains("lock timeout"), "{told}");
    assert_eq!(schema::structure(&client).await, before);
    assert_eq!(run(&migrate).await["applied"], json!(names()));
}

/// Sets both limits that the operations guide asks for of the service's role, in this database only.
async fn limit(database: &Database, limit: &str) {
    let (role, name) = (harness::postgres::SERVICE_ROLE, database.name());
    let sql = format!(
        "alter role {role} in database {name} set lock_timeout = '{limit}';
         alter role {role} in database {name} set statement_timeout = '{limit}'"
    );
    execute(&database.connect_as_superuser().await, &sql).await;
}

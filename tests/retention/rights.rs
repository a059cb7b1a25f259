//! What the role may do: call one function, within its limits. Whose function it is, and who else may call it.

use harness::database::Database;
use harness::postgres::RETENTION_ROLE;
use tokio_postgres::Client;

use super::{count, delete_ended, ended, retained};
use crate::roles::work::ADOPTED;
use crate::roles::{connect_as, deployed, migrate, run_file, run_retention_file};

const FLAG: &str = "insert into feature_flags (flag_key) values ('a')";

/// The code of a refusal, and its message.
async fn refusal(client: &Client, sql: &str) -> (String, String) {
    match client.batch_execute(sql).await {
        Ok(()) => ("done".to_owned(), String::new()),
        Err(error) => {
            let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
            (error.code().code().to_owned(), error.message().to_owned())
        }
    }
}

#[tokio::test]
async fn the_role_of_retention_may_do_nothing_else() {
    let database = retained().await;
    let superuser = database.connect_as_superuser().await;
    superuser.batch_execute(FLAG).await.unwrap();
    ended(&superuser, "a", 3, &[0, 29, 400]).await;
    let client = connect_as(&database, RETENTION_ROLE).await;

    for sql in [
        "delete from feature_flag_schedules where status = 'applied' and applied_at < now() - interval '30 days'",
        "delete from feature_flag_schedules",
        "truncate feature_flag_schedules",
        "select id from feature_flag_schedules",
        "update feature_flag_schedules set applied_at = '2020-01-01'",
        "insert into feature_flag_schedules (flag_id, scheduled_at, updates) values (gen_random_uuid(), now(), '{}')",
        "select id from feature_flags",
        "update feature_flags set enabled = true",
        "delete from feature_flags",
        "select event_id from audit_outbox",
        "delete from audit_outbox",
        "select version from flag_schedules_schema_history",
        "create table mine (id int)",
        "alter function flag_schedules_delete_ended owner to flag_schedules_retention",
        "set role flag_schedules_migrate",
    ] {
        assert_eq!(refusal(&client, sql).await.0, "42501", "{sql}");
    }
    assert_eq!(count(&superuser, "true").await, 9);
}

#[tokio::test]
async fn no_age_below_thirty_days_and_no_other_size_of_a_batch_is_accepted() {
    let database = retained().await;
    let superuser = database.connect_as_superuser().await;
    superuser.batch_execute(FLAG).await.unwrap();
    ended(&superuser, "a", 3, &[0, 29]).await;
    let client = connect_as(&database, RETENTION_ROLE).await;

    for age in ["'29 days 23:59:59'", "'0'", "'-400 days'", "'1 day'", "null"] {
        let (code, message) =
            refusal(&client, &format!("select flag_schedules_delete_ended({age}, 10)")).await;
        assert_eq!(
            (code.as_str(), message.contains("at least 30 days")),
            ("22023", true),
            "{age}: {message}"
        );
    }
    for size in ["0", "-1", "10001", "null"] {
        let (code, message) =
            refusal(&client, &format!("select flag_schedules_delete_ended('400 days', {size})")).await;
        assert_eq!((code.as_str(), message.contains("1 to 10000")), ("22023", true), "{size}: {message}");
    }
    let least = "set timezone = 'Europe/Berlin'; select flag_schedules_delete_ended('720 hours', 10000)";
    assert_eq!(refusal(&client, least).await.0, "done");
    assert_eq!(count(&superuser, "true").await, 6);
}

/// The owner of the tables may delete what it likes without it; nobody else gets to execute it by being there.
#[tokio::test]
async fn without_the_optional_file_nobody_but_the_owner_may_execute_it() {
    let database = deployed().await;
    let superuser = database.connect_as_superuser().await;

    let may = "select count(*) from pg_roles where has_function_privilege(oid, 'flag_schedules_delete_ended(interval, int)', 'execute')
        and not rolsuper and rolname <> 'flag_schedules_migrate'";
    let others: i64 = superuser.query_one(may, &[]).await.unwrap().get(0);

    assert_eq!(others, 0);
    let client = connect_as(&database, RETENTION_ROLE).await;
    let sql = "select flag_schedules_delete_ended('400 days', 10)";
    assert_eq!(refusal(&client, sql).await.0, "42501");

    // As documented: the file, then `migrate`.
    run_retention_file(&superuser).await;
    migrate(&database).await.value();
    run_retention_file(&superuser).await;
    migrate(&database).await.value();
    assert_eq!(refusal(&client, sql).await.0, "done");
}

#[tokio::test]
async fn on_tables_of_another_owner_it_deletes_what_ended_long_ago_and_keeps_what_has_no_end() {
    let database = Database::empty().await;
    let superuser = database.connect_as_superuser().await;
    let owner = format!("owner_of_{}", database.name());
    let tables = format!(
        "create role {owner}; grant usage, create on schema public to {owner}; set role {owner}; {ADOPTED}; {FLAG};
         insert into feature_flag_schedules (flag_id, scheduled_at, status, updates, applied_at)
         select id, now() - interval '400 days', s.status, '{{}}', s.applied_at::timestamptz
         from feature_flags, (values ('applied', '2020-01-01'), ('applied', null), ('failed', null), ('pending', null),
             ('applied', '-infinity'), ('applied', 'infinity')) s (status, applied_at);
         reset role; grant {owner} to flag_schedules_migrate"
    );
    superuser.batch_execute(&tables).await.unwrap();
    run_file(&superuser).await;
    run_retention_file(&superuser).await;
    migrate(&database).await.value();

    let deleted = super::batches(&delete_ended(&database, &["older_than=30 days", "batch_size=1"]).await);

    assert_eq!(deleted, [1, 1]);
    let kept = "select array_agg(concat(status, ' ', applied_at) order by status, applied_at) from feature_flag_schedules";
    let kept: Vec<String> = superuser.query_one(kept, &[]).await.unwrap().get(0);
    assert_eq!(kept, ["applied infinity", "applied ", "failed ", "pending "]);
    superuser.batch_execute(&format!("drop owned by {owner} cascade; drop role {owner}")).await.unwrap();
}

/// The function runs as its owner, whom giving away the tables does not change.
#[tokio::test]
async fn a_function_that_was_left_behind_by_its_tables_is_told() {
    let database = Database::migrated().await;
    let superuser = database.connect_as_superuser().await;
    superuser
        .batch_execute("alter table feature_flag_schedules owner to flag_schedules_migrate")
        .await
        .unwrap();

    let output = tokio::process::Command::new(harness::postgres::bin_dir().unwrap().join("psql"))
        .arg(database.superuser_url())
        .args(["--no-psqlrc", "--quiet", "--command"])
        .arg(format!("begin; {}; rollback", harness::postgres::RETENTION))
        .output()
        .await
        .unwrap();

    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let hint = "alter function flag_schedules_delete_ended(interval,integer) owner to flag_schedules_migrate";
    assert!(told.contains("belongs to flag_schedules, ") && told.contains(hint), "{told}");
}

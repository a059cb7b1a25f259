//! The file itself: run by who may run it on RDS, by two ways of running it, once or more often.

use std::process::Stdio;

use harness::database::Database;
use harness::postgres::{RETENTION_ROLE, bin_dir, connect};
use harness::settings::workspace;
use tokio_postgres::Client;

use super::rds::{MASTER, Rds};
use super::{API, MIGRATE, ONE_AT_A_TIME, PROCESSOR, READER, run_file};

/// All that the file makes: roles, memberships, their settings, and who may what in the database and its schema.
async fn made(client: &Client) -> String {
    let sql = "select concat_ws(E'\\n',
        (select string_agg(concat_ws(' ', r.rolname, r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolbypassrls,
            r.rolreplication, (select s.setconfig from pg_db_role_setting s where s.setrole = r.oid and s.setdatabase = 0),
            (select s.setconfig from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
                where s.setrole = r.oid and d.datname = current_database())), E'\\n' order by r.rolname)
            from pg_roles r where r.rolname like 'flag\\_schedules\\_%'),
        (select string_agg(concat_ws(' ', m.roleid::regrole, m.member::regrole), E'\\n' order by 1)
            from pg_auth_members m where m.roleid::regrole::text like 'flag\\_schedules%'),
        (select datacl::text from pg_database where datname = current_database()),
        (select nspacl::text from pg_namespace where nspname = 'public'))";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn running_the_file_again_changes_nothing() {
    let database = Database::empty().await;
    let superuser = database.connect_as_superuser().await;

    run_file(&superuser).await;
    let once = made(&superuser).await;
    run_file(&superuser).await;

    assert_eq!(made(&superuser).await, once);
    // Whatever the default of the database is; also of the role of retention.sql, which the server has.
    assert_eq!(once.matches("default_transaction_isolation=read committed").count(), 5, "{once}");
    assert_eq!(once.matches("{\"search_path=public, pg_temp\"}").count(), 4, "{once}");
    for role in [API, PROCESSOR, READER, MIGRATE] {
        assert!(
            once.contains(&format!("{role} f f f t f f {{lock_timeout=")),
            "{role} is a plain role that logs in: {once}"
        );
    }
}

/// On RDS the first user is no superuser: it may make roles and databases, and owns what it made.
#[tokio::test]
async fn a_master_user_that_is_no_superuser_can_run_it_with_psql() {
    let rds = Rds::start().await;
    rds.create_database("flags").await;
    let url = |role: &str| rds.url(role, "flags");

    for round in ["first", "second"] {
        assert_eq!(psql(&url(MASTER), "roles").await, "", "{round}");
        assert_eq!(psql(&url(MASTER), "retention").await, "", "{round}");
    }
    rds.migrate("flags").await;

    let sql = "select has_table_privilege($1, 'audit_outbox', $2)";
    let superuser = rds.superuser("flags").await;
    for (role, privilege) in [(API, "delete"), (PROCESSOR, "delete"), (READER, "select")] {
        assert!(superuser.query_one(sql, &[&role, &privilege]).await.unwrap().get::<_, bool>(0), "{role}");
    }
    let sql = "select has_function_privilege($1, 'flag_schedules_delete_ended(interval, int)', 'execute')";
    assert!(superuser.query_one(sql, &[&RETENTION_ROLE]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test]
async fn tables_of_somebody_else_are_told_with_what_to_do() {
    let (migrated, empty) = (Database::migrated().await, Database::empty().await);

    let turn = ONE_AT_A_TIME.lock().await;
    let warnings = psql(&migrated.superuser_url(), "roles").await;
    let silence = psql(&empty.superuser_url(), "roles").await;
    drop(turn);

    for table in ["audit_outbox", "feature_flag_schedules", "feature_flags", "flag_schedules_schema_history"]
    {
        let told = format!("{table} belongs to flag_schedules, and flag_schedules_migrate may not alter it");
        assert!(warnings.contains(&told), "expected {told:?} in: {warnings}");
        let hint = format!("or: alter table {table} owner to flag_schedules_migrate");
        assert!(warnings.contains(&hint), "expected {hint:?} in: {warnings}");
    }
    assert_eq!(silence, "");
}

#[tokio::test]
async fn temporary_tables_come_last_in_whatever_search_path_there_is() {
    let database = Database::empty().await;
    let superuser = database.connect_as_superuser().await;
    let (name, schema) = (database.name(), "flags, public");
    let before = format!(
        "alter database {name} set search_path = {schema};
         alter role {PROCESSOR} in database {name} set search_path = public, pg_temp;
         alter role {READER} in database {name} set search_path = flags"
    );
    superuser.batch_execute(&before).await.unwrap();

    run_file(&superuser).await;
    run_file(&superuser).await;

    for (role, path) in [
        (API, "flags, public, pg_temp"),
        (MIGRATE, "flags, public, pg_temp"),
        (PROCESSOR, "public, pg_temp"),
        (READER, "flags, pg_temp"),
    ] {
        let client = connect(&database.url_as(role)).await.unwrap();
        let row = client.query_one("show search_path", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), path, "{role}");
    }
}

#[tokio::test]
async fn a_schema_that_is_open_to_everybody_is_told() {
    let database = Database::empty().await;
    let superuser = database.connect_as_superuser().await;
    superuser.batch_execute("grant create on schema public to public").await.unwrap();

    let turn = ONE_AT_A_TIME.lock().await;
    let warnings = psql(&database.superuser_url(), "roles").await;
    drop(turn);

    assert!(
        warnings.contains("every user of this database may create objects in the schema public"),
        "{warnings}"
    );
    assert!(warnings.contains("revoke create on schema public from public"), "{warnings}");
}

/// Runs a file of `migrations/roles` with psql; gives what it says beside the results.
async fn psql(url: &str, file: &str) -> String {
    let psql = tokio::process::Command::new(bin_dir().unwrap().join("psql"))
        .args(["--no-psqlrc", "--set=ON_ERROR_STOP=1", "--quiet", "--file"])
        .arg(workspace().join(format!("migrations/roles/{file}.sql")))
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&psql.stderr).into_owned();
    assert!(psql.status.success(), "{said}");
    said
}

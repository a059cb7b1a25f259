//! The service's part of a database is removed by `migrations/operations/remove.sql`, and moves to another server by a dump.

use std::os::unix::fs::symlink;
use std::process::Stdio;

use harness::database::Database;
use harness::postgres::{RETENTION_ROLE, bin_dir};
use harness::settings::{path, workspace};
use tokio_postgres::Client;

use super::rds::{MASTER, Rds};
use super::{MIGRATE, PROCESSOR, migrate, run_file, run_retention_file};
use crate::onboarding::blocks::commands;

const REMOVE: &str = "operations/remove.sql";
const FLAG: &str =
    "insert into feature_flags (id, flag_key, environment) values (gen_random_uuid(), 'kept', 'production')";

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// Everything in the schema, and the service's roles.
async fn objects(client: &Client) -> Vec<String> {
    texts(
        client,
        "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'S')
         union all select proname::text from pg_proc where pronamespace = 'public'::regnamespace
         union all select rolname::text from pg_roles where rolname like 'flag\\_schedules\\_%' order by 1",
    )
    .await
}

async fn holds(client: &Client, sql: &str) -> bool {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

#[tokio::test]
async fn removing_the_service_keeps_the_flags_and_what_other_databases_use() {
    let rds = Rds::start().await;
    for database in ["flags", "staging"] {
        rds.deploy(database).await;
        rds.connect_as(MIGRATE, database).await.batch_execute(FLAG).await.unwrap();
    }
    let master = rds.connect_as(MASTER, "flags").await;
    let refused = master.execute(FLAG, &[]).await.unwrap_err();
    assert_eq!(refused.code().map(tokio_postgres::error::SqlState::code), Some("42501"), "{refused}");

    // Nothing is removed while another tool needs a table.
    let superuser = rds.superuser("flags").await;
    superuser
        .batch_execute("create view upcoming as select scheduled_at from feature_flag_schedules")
        .await
        .unwrap();
    let before = objects(&superuser).await;
    let failed = rds.psql("flags", REMOVE).await;
    assert!(!failed.status.success());
    assert!(
        String::from_utf8_lossy(&failed.stderr).contains("view public.upcoming depends on"),
        "{failed:?}"
    );
    assert_eq!(objects(&superuser).await, before);
    superuser.batch_execute("drop view upcoming").await.unwrap();

    // The other database needs the roles.
    let removed = rds.psql("flags", REMOVE).await;
    let told = String::from_utf8_lossy(&removed.stderr).into_owned();
    assert!(removed.status.success(), "{told}");
    assert_eq!(told.matches("is kept: another database uses it").count(), 5, "{told}");
    let left = objects(&superuser).await;
    assert_eq!((left[0].as_str(), left.len()), ("feature_flags", 6), "{left:?}");
    let table = "select concat_ws(' ', c.relowner::regrole, c.relacl::text, f.flag_key) from pg_class c, feature_flags f
        where c.oid = 'feature_flags'::regclass";
    let [table] = &texts(&master, table).await[..] else { panic!("the flag is gone") };
    assert!(
        table.starts_with(MASTER) && table.ends_with("kept") && !table.contains("flag_schedules"),
        "{table}"
    );
    let has = "select datacl::text like '%flag\\_schedules%' from pg_database where datname = ";
    assert!(!holds(&master, &format!("{has} 'flags'")).await);
    assert!(holds(&master, &format!("{has} 'staging'")).await);
    assert!(
        !holds(&master, &format!("select pg_has_role('{MIGRATE}', 'usage')")).await,
        "the master user left it"
    );
    rds.migrate("staging").await;

    // Nothing does.
    let removed = rds.psql("staging", REMOVE).await;
    assert!(removed.status.success() && removed.stderr.is_empty(), "{removed:?}");
    assert_eq!(objects(&rds.superuser("staging").await).await, ["feature_flags"]);
    assert!(!holds(&master, "select pg_has_role(current_user, 'rds_iam', 'member')").await);
    assert_eq!(
        texts(&rds.connect_as(MASTER, "staging").await, "select flag_key from feature_flags").await,
        ["kept"]
    );
}

/// As `docs/operations.md` has it: who is admitted with tokens only, in whatever way it has become a member.
#[tokio::test]
async fn a_member_of_a_role_that_signs_in_with_iam_is_one_itself() {
    let rds = Rds::start().await;
    rds.deploy("flags").await;
    let master = rds.connect_as(MASTER, "flags").await;
    let is_member = "select pg_has_role(current_user, 'rds_iam', 'member')";

    let version: String = master.query_one("show server_version_num", &[]).await.unwrap().get(0);
    let by_creation = version.parse::<u32>().unwrap() >= 160_000;
    assert_eq!(holds(&master, is_member).await, by_creation, "{version}");

    master.batch_execute(&format!("grant {MIGRATE} to current_user")).await.unwrap();
    assert!(holds(&master, is_member).await);
    master.batch_execute(&format!("revoke {MIGRATE} from current_user")).await.unwrap();
    assert_eq!(holds(&master, is_member).await, by_creation, "{version}");
}

/// The documented commands, on a server that has never had the service's roles.
#[tokio::test]
async fn a_dump_is_restored_on_another_server_with_the_role_of_retention() {
    let database = Database::empty().await;
    let superuser = database.connect_as_superuser().await;
    run_file(&superuser).await;
    run_retention_file(&superuser).await;
    migrate(&database).await.value();
    superuser.batch_execute(FLAG).await.unwrap();
    let rds = Rds::start().await;
    let block = commands("docs/database.md").into_iter().find(|block| block.text.contains("pg_restore"));
    let block = block.expect("the document has the commands").text;
    let script = block
        .replace("master@flags-restored.abc.eu-central-1.rds.amazonaws.com:5432", &{
            let url = rds.url(MASTER, "");
            url.trim_start_matches("postgres://").trim_end_matches('/').to_owned()
        })
        .replace("?sslmode=verify-full&sslrootcert=global-bundle.pem", "");
    let folder = harness::scratch::Scratch::create(None).unwrap();
    symlink(workspace().join("migrations"), folder.path().join("migrations")).unwrap();

    let output = tokio::process::Command::new("sh")
        .args(["-ec", &script])
        .env("MIGRATE_URL", database.url_as(MIGRATE))
        .env("PATH", format!("{}:{}", bin_dir().unwrap().display(), path()))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();

    assert!(output.status.success(), "{}: {script}", String::from_utf8_lossy(&output.stderr));
    rds.migrate("flags_restored").await;
    let restored = rds.superuser("flags_restored").await;
    assert_eq!(texts(&restored, "select flag_key from feature_flags").await, ["kept"]);
    for (role, privilege) in [
        (
            RETENTION_ROLE,
            "has_function_privilege($1, 'flag_schedules_delete_ended(interval, int)', 'execute')",
        ),
        (PROCESSOR, "has_table_privilege($1, 'audit_outbox', 'delete')"),
    ] {
        let row = restored.query_one(&format!("select {privilege}"), &[&role]).await.unwrap();
        assert!(row.get::<_, bool>(0), "{role}: {privilege}");
    }
    let owner = "select relowner::regrole::text from pg_class where relname = 'audit_outbox'";
    assert_eq!(texts(&restored, owner).await, [MIGRATE]);
}

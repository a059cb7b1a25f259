//! Deleting schedules that ended long ago: by a role that can do nothing else, in batches, while the service works.

mod batches;
mod deleted_trail;
mod meanwhile;
mod random_rows;
mod rights;

use std::process::{Output, Stdio};

use harness::database::Database;
use harness::postgres::{RETENTION_ROLE, bin_dir};
use harness::settings::workspace;
use tokio_postgres::Client;

use crate::roles::{migrate, run_file, run_retention_file};

/// A database as a deployment with retention has it.
async fn retained() -> Database {
    let database = Database::empty().await;
    let superuser = database.connect_as_superuser().await;
    run_file(&superuser).await;
    run_retention_file(&superuser).await;
    migrate(&database).await.value();
    database
}

/// Inserts so many schedules of a flag for each number of days, all ended so many days ago, in turn cancelled, applied and
/// failed.
async fn ended(superuser: &Client, flag: &str, count: i32, days_ago: &[i32]) {
    let sql = "insert into feature_flag_schedules (flag_id, scheduled_at, status, updates, created_by, created_at, applied_at,
            failed_at, error_code, cancelled_at, cancelled_by)
        select f.id, e.at, e.status, '{\"enabled\": true}', 'alice', e.at - interval '1 day',
            case e.status when 'applied' then e.at end, case e.status when 'failed' then e.at end,
            case e.status when 'failed' then 'expired' end, case e.status when 'cancelled' then e.at end,
            case e.status when 'cancelled' then 'bob' end
        from feature_flags f, unnest($3::int[]) days (ago), generate_series(1, $2) n,
            lateral (select now() - make_interval(days => days.ago, mins => n),
                (array['cancelled', 'applied', 'failed'])[1 + n % 3]) e (at, status)
        where f.flag_key = $1";
    let inserted = superuser.execute(sql, &[&flag, &count, &days_ago]).await.unwrap();
    assert_eq!(inserted, u64::try_from(count).unwrap() * days_ago.len() as u64);
}

async fn count(superuser: &Client, condition: &str) -> i64 {
    let sql = format!("select count(*) from feature_flag_schedules where {condition}");
    superuser.query_one(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// Runs the documented file as the role, with these variables of psql.
async fn delete_ended(database: &Database, variables: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(bin_dir().unwrap().join("psql"));
    command.arg(database.url_as(RETENTION_ROLE)).args(["--no-psqlrc", "--file"]);
    command.arg(workspace().join("migrations/operations/delete_ended.sql"));
    for variable in variables {
        command.arg(format!("--set={variable}"));
    }
    command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
}

/// How many schedules each batch has deleted.
fn batches(output: &Output) -> Vec<i64> {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert_eq!(told, "");
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.parse().unwrap()).collect()
}

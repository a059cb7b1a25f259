//! The documented file: batches of a transaction each, whatever is locked, wherever it is stopped.

use std::time::{Duration, Instant};

use harness::database::Database;
use tokio_postgres::Client;

use super::{batches, count, delete_ended, ended, retained};
use crate::support::LIMIT;

async fn with_ended(count: i32, days_ago: &[i32]) -> (Database, Client) {
    let database = retained().await;
    let superuser = database.connect_as_superuser().await;
    superuser.batch_execute("insert into feature_flags (flag_key) values ('a')").await.unwrap();
    ended(&superuser, "a", count, days_ago).await;
    (database, superuser)
}

#[tokio::test]
async fn each_batch_is_told_and_the_run_ends_with_the_last_old_schedule() {
    let (database, superuser) = with_ended(250, &[1, 31, 500]).await;

    let first = batches(&delete_ended(&database, &["older_than=400 days", "batch_size=100"]).await);
    let again = batches(&delete_ended(&database, &["older_than=400 days"]).await);
    let few = batches(&delete_ended(&database, &["older_than=30 days", "batch_size=10", "batches=2"]).await);
    let rest = batches(&delete_ended(&database, &["older_than=30 days"]).await);

    assert_eq!((first, again, few, rest), (vec![100, 100, 50], vec![], vec![10, 10], vec![230]));
    assert_eq!(count(&superuser, "true").await, 250);
}

#[tokio::test]
async fn a_run_without_an_age_or_with_a_bad_one_fails_and_says_why() {
    let (database, superuser) = with_ended(5, &[500]).await;

    for (variables, reason) in [
        (&[][..], "older_than is not set"),
        (&["older_than=1 week"], "at least 30 days"),
        (&["older_than=a while"], "invalid input syntax for type interval"),
        (&["older_than=400 days", "batch_size=many"], "invalid input syntax for type integer"),
        (&["older_than=400 days", "batch_size=20000"], "1 to 10000"),
        (
            &["older_than='); delete from feature_flag_schedules; --"],
            "invalid input syntax for type interval",
        ),
    ] {
        let output = delete_ended(&database, variables).await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), told.contains(reason)), (Some(3), true), "{variables:?}: {told}");
    }
    assert_eq!(count(&superuser, "true").await, 5);
}

#[tokio::test]
async fn locked_schedules_are_skipped_at_once_and_deleted_by_the_next_run() {
    let (database, superuser) = with_ended(100, &[500]).await;
    let holder = database.connect_as_superuser().await;
    let lock = "begin; update feature_flags set description = 'held';
        select id from feature_flag_schedules order by applied_at limit 3 for no key update";
    holder.batch_execute(lock).await.unwrap();

    let started = Instant::now();
    let during = batches(&delete_ended(&database, &["older_than=400 days", "batch_size=40"]).await);
    let took = started.elapsed();
    holder.batch_execute("rollback").await.unwrap();
    let after = batches(&delete_ended(&database, &["older_than=400 days"]).await);

    assert_eq!((during, after), (vec![40, 40, 17], vec![3]));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(count(&superuser, "true").await, 0);
}

#[tokio::test]
async fn a_run_that_is_cut_off_has_committed_its_batches_and_the_next_one_goes_on() {
    const ALL: i64 = 20_000;
    let (database, superuser) = with_ended(20_000, &[500]).await;
    ended(&superuser, "a", 50, &[20]).await;
    let variables = ["older_than=400 days", "batch_size=10", "batches=3000"];

    let cut = async {
        let deadline = Instant::now() + LIMIT;
        while count(&superuser, "true").await > ALL - 500 {
            assert!(Instant::now() < deadline, "nothing is deleted");
        }
        let end = "select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and usename = 'flag_schedules_retention'";
        superuser.batch_execute(end).await.unwrap();
    };
    let (output, ()) = tokio::join!(delete_ended(&database, &variables), cut);
    let left = count(&superuser, "applied_at < now() - interval '30 days' or status <> 'applied'").await;
    let again = batches(&delete_ended(&database, &["older_than=400 days"]).await);

    assert!(!output.status.success());
    assert!(left > 0 && left < ALL, "{left}");
    assert_eq!(again.iter().sum::<i64>() % 10, 0, "{again:?}");
    assert!(again.iter().sum::<i64>() < ALL - 500, "{again:?}");
    assert_eq!(count(&superuser, "true").await, 50);
}

/// What a batch reads does not grow with the table, in the first call of a session and in those that have a plan already.
#[tokio::test]
async fn a_batch_reads_its_own_rows_only() {
    let (_database, superuser) = with_ended(30_000, &[1, 500]).await;
    // Counts that the session has not reported yet stay in the view, of whichever transaction they are.
    let counts = "select coalesce(sum(seq_scan), 0)::bigint, coalesce(sum(idx_tup_fetch), 0)::bigint
        from pg_stat_xact_user_tables where relname = 'feature_flag_schedules'";
    for statistics in ["", "analyze"] {
        superuser.batch_execute(statistics).await.unwrap();
        for _ in 0..8 {
            superuser.batch_execute("begin").await.unwrap();
            let before = superuser.query_one(counts, &[]).await.unwrap();
            let batch = "select flag_schedules_delete_ended('400 days', 100)";
            let deleted: i32 = superuser.query_one(batch, &[]).await.unwrap().get(0);
            let after = superuser.query_one(counts, &[]).await.unwrap();
            superuser.batch_execute("commit").await.unwrap();

            let [whole_table, rows] = [0, 1].map(|at| after.get::<_, i64>(at) - before.get::<_, i64>(at));
            assert_eq!((deleted, whole_table), (100, 0), "{statistics}");
            assert!((100..=300).contains(&rows), "{rows} rows are read for 100");
        }
    }
}

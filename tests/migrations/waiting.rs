//! A database that is not up yet is waited for; one that will never let `migrate` in is not.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::database::Database;
use harness::lambda::Function;
use harness::proxy::{Mode, Proxy};
use serde_json::json;

use super::{execute, migrate_at, migrate_on, names, refusal, run};
use crate::support::LIMIT;

/// The line that each further attempt writes.
const AGAIN: &str = "trying again";

async fn until_it_tries_again(migrate: &Function) {
    migrate.wait_for_log(|line| line.contains(AGAIN), LIMIT).await;
}

#[tokio::test]
async fn a_port_where_nobody_listens_yet_is_tried_again() {
    let database = Database::empty().await;
    let (proxy, url) = database.behind_proxy().await;
    let address = proxy.address();
    let config: tokio_postgres::Config = database.url().parse().unwrap_or_else(|error| panic!("{error}"));
    let server = SocketAddr::from(([127, 0, 0, 1], config.get_ports()[0]));
    // The listener ends with the first connection after its owner.
    drop(proxy);
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let migrate = migrate_at(&url).await;

    let up = async {
        until_it_tries_again(&migrate).await;
        Proxy::between(address, server).await.unwrap_or_else(|error| panic!("{error}"))
    };
    let (result, _proxy) = tokio::join!(run(&migrate), up);

    assert_eq!(result["applied"], json!(names()));
    let lines: Vec<_> = migrate.logs().into_iter().filter(|line| line.contains(AGAIN)).collect();
    assert!(lines.iter().all(|line| line.contains("INFO") && line.contains("refused")), "{lines:#?}");
    let password = String::from_utf8_lossy(config.get_password().unwrap_or_default()).into_owned();
    assert!(!migrate.logs().concat().contains(&password));
}

#[tokio::test]
async fn a_server_that_closes_new_connections_is_tried_again() {
    let database = Database::empty().await;
    let (proxy, url) = database.behind_proxy().await;
    proxy.set(Mode::Cut);
    let migrate = migrate_at(&url).await;

    let up = async {
        until_it_tries_again(&migrate).await;
        proxy.set(Mode::Pass);
    };
    let (result, ()) = tokio::join!(run(&migrate), up);

    assert_eq!(result["applied"], json!(names()));
}

#[tokio::test]
async fn a_server_that_is_out_of_connections_is_tried_again() {
    let database = Database::empty().await;
    let superuser = database.connect_as_superuser().await;
    execute(&superuser, &format!("alter database {} connection limit 0", database.name())).await;
    let migrate = migrate_on(&database).await;

    let up = async {
        until_it_tries_again(&migrate).await;
        execute(&superuser, &format!("alter database {} connection limit -1", database.name())).await;
    };
    let (result, ()) = tokio::join!(run(&migrate), up);

    assert_eq!(result["applied"], json!(names()));
}

#[tokio::test]
async fn what_only_a_person_can_put_right_is_told_at_once() {
    let database = Database::empty().await;
    let url = database.url();
    let (_, place) = url.rsplit_once('@').expect("the URL has credentials");
    let (server, _) = url.rsplit_once('/').expect("the URL names a database");

    for (url, expected) in [
        (format!("postgres://flag_schedules:wrong@{place}"), "password authentication failed"),
        (format!("postgres://nobody_of_that_name:wrong@{place}"), "authentication failed"),
        (format!("{server}/no_database_of_that_name"), "does not exist"),
        (format!("{url}?sslmode=verify-full"), "server does not support TLS"),
    ] {
        let migrate = migrate_at(&url).await;
        let begun = Instant::now();

        let told = refusal(&migrate).await;

        assert!(told.contains(expected), "{expected} is not in: {told}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{expected}: {:?}", begun.elapsed());
        assert!(!migrate.logs().iter().any(|line| line.contains(AGAIN)), "{expected}: {:?}", migrate.logs());
    }
}

#[tokio::test]
async fn a_database_that_is_serializable_by_default_is_migrated() {
    let database = Database::empty().await;
    let superuser = database.connect_as_superuser().await;
    let sql =
        format!("alter database {} set default_transaction_isolation = 'serializable'", database.name());
    execute(&superuser, &sql).await;
    let migrators = [migrate_on(&database).await, migrate_on(&database).await];

    let (first, second) = tokio::join!(run(&migrators[0]), run(&migrators[1]));

    let mut applied = [first["applied"].clone(), second["applied"].clone()];
    applied.sort_by_key(|names| names.as_array().map(Vec::len));
    assert_eq!(applied, [json!([]), json!(names())]);
}

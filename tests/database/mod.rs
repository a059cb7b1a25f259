//! What the database and the network to it can do to a call: it succeeds, or ends in time with a clear 503, and the next
//! one works again without a restart.

mod crashes;
mod deadlocks;
mod hosts;
mod left_behind;
mod network;
mod older_schema;
#[cfg(target_os = "linux")]
mod out_of_space;
mod round_trip_counts;

use std::time::Duration;

use harness::api::{Api, Setup};
use harness::database::Database;
use harness::proxy::{Mode, Proxy};
use tokio_postgres::Client;

use crate::support::{LIMIT, text, turn_on};

/// A service whose database is behind a proxy.
async fn behind_proxy() -> (Api, Proxy) {
    behind_proxy_with(|setup| setup).await
}

/// The same, differing from the usual.
async fn behind_proxy_with(change: impl FnOnce(Setup) -> Setup) -> (Api, Proxy) {
    let database = Database::migrated().await;
    let (proxy, url) = database.behind_proxy().await;
    let setup = change(Api::with()).database(database).env_everywhere("DATABASE_URL", Some(&url));
    let api = setup.start().await;
    api.flag("a", "production").await;
    (api, proxy)
}

/// Ends all connections of the service to this database.
async fn kill_backends(client: &Client) -> i64 {
    let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and application_name = 'flag-schedules'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Neither a connection in a transaction nor one at work is left behind.
async fn assert_nothing_left_behind(api: &Api) {
    api.settle().await;
    let sql = "select count(*) from pg_stat_activity where datname = current_database()
        and application_name = 'flag-schedules' and state <> 'idle'";
    let client = api.database.connect().await;
    let deadline = std::time::Instant::now() + LIMIT;
    loop {
        let busy: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
        if busy == 0 {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{busy} connections of the service are still busy");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_backend_killed_while_the_function_was_frozen_costs_nothing() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let token = api.admin();
    let client = api.database.connect().await;

    for round in 0..10 {
        let created = api.create(&token, "a", "", &turn_on()).await;
        assert_eq!(created.status, 201, "round {round}: {created:?}");
        let cancelled = api.cancel(&token, "a", text(&created.json, "id"), "").await;
        assert_eq!(cancelled.status, 200, "round {round}: {cancelled:?}");
        let listed = api.list(&token, "a", "").await;
        assert_eq!(listed.status, 200, "round {round}: {listed:?}");
        api.tick().await.value();
        api.settle().await;
        assert!(kill_backends(&client).await >= 4, "round {round}: all four functions had a connection");
    }
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up_in_time_and_the_next_call_works() {
    let (api, proxy) = behind_proxy().await;
    let token = api.admin();
    assert_eq!(api.create(&token, "a", "", &turn_on()).await.status, 201);
    api.settle().await;

    proxy.set(Mode::Stall);
    let stalled = api.create(&token, "a", "", &turn_on()).await;
    proxy.set(Mode::Pass);
    let next = api.create(&token, "a", "", &turn_on()).await;

    assert_eq!(stalled.status, 503, "{stalled:?}");
    assert_eq!(next.status, 201, "{next:?}");
    assert_nothing_left_behind(&api).await;
}

#[tokio::test]
async fn a_slow_network_is_only_slow() {
    let (api, proxy) = behind_proxy().await;
    proxy.set(Mode::Delay(Duration::from_millis(150)));

    let created = api.create(&api.admin(), "a", "", &turn_on()).await;

    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(api.events().await.len(), 1);
}

#[tokio::test]
async fn a_network_that_is_cut_and_comes_back_needs_no_restart() {
    let (api, proxy) = behind_proxy().await;
    let token = api.admin();
    proxy.set(Mode::Cut);
    let first = api.create(&token, "a", "", &turn_on()).await;
    let tick = api.tick().await.error();

    proxy.set(Mode::Pass);
    let next = api.create(&token, "a", "", &turn_on()).await;

    assert_eq!(first.status, 503, "{first:?}");
    assert_eq!(tick.error_type, "DatabaseUnavailable");
    assert_eq!(next.status, 201, "{next:?}");
    api.tick().await.value();
}

#[tokio::test]
async fn a_database_that_became_read_only_is_told_and_found_again() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let token = api.admin();
    assert_eq!(api.create(&token, "a", "", &turn_on()).await.status, 201);
    api.settle().await;
    let client = api.database.connect().await;
    let name = api.database.name();

    client
        .batch_execute(&format!("alter database {name} set default_transaction_read_only = on"))
        .await
        .unwrap();
    kill_backends(&client).await;
    let refused = api.create(&token, "a", "", &turn_on()).await;
    let read = api.list(&token, "a", "").await;
    client
        .batch_execute(&format!(
            "set default_transaction_read_only = off; alter database {name} reset default_transaction_read_only"
        ))
        .await
        .unwrap();
    let accepted = api.create(&token, "a", "", &turn_on()).await;

    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(read.status, 200, "{read:?}");
    assert_eq!(accepted.status, 201, "the read-only connection was discarded: {accepted:?}");
}

#[tokio::test]
async fn too_many_connections_are_a_503_and_pass_by_themselves() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let token = api.admin();
    let client = api.database.connect().await;
    let name = api.database.name();

    client.batch_execute(&format!("alter database {name} connection limit 0")).await.unwrap();
    let refused = api.create(&token, "a", "", &turn_on()).await;
    client.batch_execute(&format!("alter database {name} connection limit -1")).await.unwrap();
    let accepted = api.create(&token, "a", "", &turn_on()).await;

    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(accepted.status, 201, "{accepted:?}");
}

//! Faults of what a connection prepares: a change has one effect, and its response is true.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::api::{Api, cancel_request, create_request};
use harness::database::Database;
use harness::gateway::Response;
use harness::interceptor::{Act, PREPARE, Rule};
use harness::postgres::SERVICE_ROLE;
use harness::proxy::Mode;

use super::losses::intercepted;
use crate::processor::crowd::count;
use crate::processor::held::all_at_rest;
use crate::support::{LIMIT, text, turn_on};

#[tokio::test]
async fn whatever_happens_to_what_a_connection_has_prepared_a_create_has_one_effect() {
    let (api, interceptor, _cloudwatch) = intercepted().await;
    let token = api.admin();
    let mut made = 0;
    for act in [Act::CutBefore, Act::CutDuring, Act::LoseAnswer, Act::Terminate] {
        interceptor.begin(vec![Rule { label: PREPARE.to_owned(), occurrence: 1, act }]);
        let function = api.another("create-schedule").await;
        let event = create_request("a", "", &turn_on()).bearer(&token).event();
        for _ in 0..3 {
            let created = Response::of(function.invoke(&event).await);
            assert_eq!(created.status, 201, "{act:?}: {created:?}");
            function.settled(LIMIT).await;
            made += 1;
        }
        assert_eq!(interceptor.fired().len(), 1, "{act:?}");
    }
    assert_eq!(api.create(&token, "a", "", &turn_on()).await.status, 201);
    made += 1;
    // The server has forgotten it, as after a `discard all`.
    api.settle().await;
    let forgotten = Rule { label: "create_schedule".to_owned(), occurrence: 1, act: Act::Forget };
    interceptor.begin(vec![forgotten]);
    for _ in 0..2 {
        let created = api.create(&token, "a", "", &turn_on()).await;
        assert_eq!(created.status, 201, "{created:?}");
        made += 1;
    }
    assert_eq!(interceptor.fired().len(), 1);

    api.settle().await;
    let client = api.database.connect_as_superuser().await;
    all_at_rest(&client).await;
    assert_eq!(count(&client, "select count(*) from feature_flag_schedules").await, made);
    let events: BTreeSet<String> =
        api.events().await.iter().map(|event| text(event, "event_id").to_owned()).collect();
    assert_eq!(i64::try_from(events.len()), Ok(made));
}

#[tokio::test]
async fn a_cancel_that_waits_for_its_preparation_has_not_happened() {
    let (api, interceptor, _cloudwatch) = intercepted().await;
    let token = api.admin();
    let created = api.create(&token, "a", "", &turn_on()).await;
    let event = cancel_request("a", text(&created.json, "id"), "").bearer(&token).event();
    let function = api.another("cancel-schedule").await;
    interceptor.begin(vec![Rule { label: PREPARE.to_owned(), occurrence: 1, act: Act::Hold }]);

    let given_up = Response::of(function.invoke(&event).await);
    interceptor.release();
    all_at_rest(&api.database.connect_as_superuser().await).await;
    let retried = Response::of(function.invoke(&event).await);

    assert_eq!(interceptor.fired().len(), 1, "{:?}", interceptor.trace());
    assert_eq!(given_up.status, 503, "{given_up:?}");
    assert_eq!(retried.status, 200, "{retried:?}");
}

/// Two waits for the lock would take four of the five seconds that a statement has.
#[tokio::test]
async fn a_connection_that_has_prepared_nothing_waits_for_a_locked_outbox_once() {
    let database = Database::migrated().await;
    let limit = format!("alter role {SERVICE_ROLE} in database {} set lock_timeout = '2s'", database.name());
    database.connect_as_superuser().await.batch_execute(&limit).await.unwrap();
    let (proxy, url) = database.behind_proxy().await;
    let api = Api::with().database(database).env_everywhere("DATABASE_URL", Some(&url)).start().await;
    api.flag("a", "production").await;
    let mut somebody = api.database.connect_as_superuser().await;
    let lock = somebody.transaction().await.unwrap();
    lock.batch_execute("lock table audit_outbox in share mode").await.unwrap();
    proxy.set(Mode::Delay(Duration::from_millis(75)));

    let created = api.create(&api.admin(), "a", "", &turn_on()).await;

    assert_eq!(created.status, 201, "{created:?}");
    lock.rollback().await.unwrap();
}

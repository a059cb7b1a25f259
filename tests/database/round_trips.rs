//! A warm request is one round trip to the database before its answer: counted on the wire.

use harness::api::{Api, cancel_request, create_request, list_request};
use harness::database::Database;
use harness::gateway::{Request, Response};
use harness::lambda::Launch;
use harness::proxy::Proxy;

use crate::support::{text, turn_on};

/// A service whose events nobody delivers, so that all round trips are those of the requests.
async fn counted() -> (Api, Proxy) {
    let database = Database::migrated().await;
    let (proxy, url) = database.behind_proxy().await;
    let undelivered = |launch: Launch| launch.refuse_extensions(500);
    let setup = Api::with().database(database).env_everywhere("DATABASE_URL", Some(&url));
    let setup = setup.launch("create-schedule", undelivered).launch("cancel-schedule", undelivered);
    let api = setup.start().await;
    api.flag("a", "production").await;
    (api, proxy)
}

/// Sends a request; gives the answer and the round trips that it took.
async fn send(api: &Api, proxy: &Proxy, request: Request) -> (Response, u64) {
    let before = proxy.flights();
    let answer = api.send(&request.bearer(&api.admin())).await;
    (answer, proxy.flights() - before)
}

#[tokio::test]
async fn a_warm_create_list_or_cancel_is_one_round_trip() {
    let (api, proxy) = counted().await;
    let (first, cold) = send(&api, &proxy, create_request("a", "", &turn_on())).await;
    assert!(cold > 1, "the first request opens the connection, but {cold} round trips were counted");
    let (second, of_create) = send(&api, &proxy, create_request("a", "", &turn_on())).await;
    send(&api, &proxy, list_request("a", "")).await;
    let (page, of_list) = send(&api, &proxy, list_request("a", "")).await;
    send(&api, &proxy, cancel_request("a", text(&first.json, "id"), "")).await;
    let (cancelled, of_cancel) = send(&api, &proxy, cancel_request("a", text(&second.json, "id"), "")).await;

    assert_eq!((second.status, page.status, cancelled.status), (201, 200, 200));
    assert_eq!((of_create, of_list, of_cancel), (1, 1, 1), "round trips of create, list and cancel");
}

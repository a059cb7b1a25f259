//! A warm request is one round trip to the database before its answer: counted on the wire.

use harness::api::{cancel_request, create_request, list_request};
use harness::counted::Counted;

use crate::support::{text, turn_on};

#[tokio::test]
async fn a_warm_create_list_or_cancel_is_one_round_trip() {
    let service = Counted::start("a").await;
    let (first, cold) = service.send(create_request("a", "", &turn_on())).await;
    assert!(cold > 1, "the first request opens the connection, but {cold} round trips were counted");
    let (second, of_create) = service.send(create_request("a", "", &turn_on())).await;
    service.send(list_request("a", "")).await;
    let (page, of_list) = service.send(list_request("a", "")).await;
    service.send(cancel_request("a", text(&first.json, "id"), "")).await;
    let (cancelled, of_cancel) = service.send(cancel_request("a", text(&second.json, "id"), "")).await;

    assert_eq!((second.status, page.status, cancelled.status), (201, 200, 200));
    assert_eq!((of_create, of_list, of_cancel), (1, 1, 1), "round trips of create, list and cancel");
}

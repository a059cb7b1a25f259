//! Five thousand requests, each the same whenever it is played: none ends in a 5xx, a panic or a hang, and every answer
//! is a legal one.

use std::collections::BTreeMap;
use std::sync::Mutex;

use harness::api::{cancel_request, create_request, list_request};
use harness::gateway::Response;
use harness::tokens::Keys;
use serde_json::Value;

use super::legal::faults;
use super::parts::{CURSOR, FLAG, ID, OTHER_ENVIRONMENT, OTHER_FLAG, SCHEDULES, SOON};
use super::request::{Known, Sent, Who, requests};
use super::service::{Endpoint, Service};
use crate::seeds::Campaign;
use crate::support::{in_seconds, text, turn_on};

/// How many requests are played.
const CASES: u64 = 5_000;
/// How many at once, each on a database of its own.
const WORKERS: usize = 2;
const REQUESTS: Campaign = Campaign { test: "any_request_gets_a_legal_answer", variables: "FUZZ" };

/// All answers that a request can have: where one never comes, the requests are too far from valid ones, or too near.
const STATUSES: [u16; 10] = [200, 201, 400, 401, 403, 404, 409, 413, 415, 422];

#[test]
fn any_request_gets_a_legal_answer() {
    let tally = Mutex::new(BTreeMap::<(String, u16), u64>::new());

    let cases = REQUESTS.play(CASES, WORKERS, |seeds| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let world = runtime.block_on(World::start());
        let strategy = requests();
        for seed in seeds {
            let failure = REQUESTS.run(seed, &strategy, |sent| match runtime.block_on(world.send(sent)) {
                Ok((event, response)) => {
                    let endpoint = format!("{:?}", sent.endpoint);
                    *tally.lock().unwrap().entry((endpoint, response.status)).or_default() += 1;
                    faults(sent.endpoint, &event, &response)
                }
                Err(error) => vec![error],
            });
            if failure.is_some() {
                return failure;
            }
        }
        None
    });

    let tally = tally.into_inner().unwrap();
    let count = |status: u16| tally.iter().filter(|((_, of), _)| *of == status).map(|(_, n)| n).sum::<u64>();
    if cases >= CASES {
        let rare: Vec<_> = STATUSES.into_iter().filter(|status| count(*status) < cases / 500).collect();
        assert!(rare.is_empty(), "{rare:?} hardly ever came: {tally:?}");
        let good = count(200) + count(201);
        assert!(good > cases / 10, "hardly a request was good: {tally:?}");
    }
}

/// The endpoints with two flags, and schedules, ten of them cancelled.
struct World {
    service: Service,
    admin: String,
    user: String,
    known: Known,
}

impl World {
    async fn start() -> Self {
        let keys = Keys::generate();
        let service = Service::start(&[&keys]).await;
        service.flag(FLAG, "production").await;
        service.flag(OTHER_FLAG, OTHER_ENVIRONMENT).await;
        let (admin, user) = (keys.token().sign(), keys.token().groups(&[]).sign());
        let mut known = vec![(SOON.to_owned(), in_seconds(3600))];
        for number in 0..SCHEDULES {
            let create = create_request(FLAG, "", &turn_on()).bearer(&admin).event();
            let created = service.answer(Endpoint::Create, &create).await.unwrap();
            known.push((format!("{ID}{number:02}"), text(&created.json, "id").to_owned()));
            if number < 10 {
                let cancel = cancel_request(FLAG, &known[number + 1].1, "").bearer(&admin).event();
                assert_eq!(service.answer(Endpoint::Cancel, &cancel).await.unwrap().status, 200);
            }
        }
        let page = list_request(FLAG, "limit=1").bearer(&admin).event();
        let page = service.answer(Endpoint::List, &page).await.unwrap();
        known.push((CURSOR.to_owned(), text(&page.json, "next_cursor").to_owned()));
        Self { service, admin, user, known }
    }

    async fn send(&self, sent: &Sent) -> Result<(Value, Response), String> {
        let token = if matches!(sent.who, Who::User) { &self.user } else { &self.admin };
        let event = sent.event(token, &self.known);
        let response = self.service.answer(sent.endpoint, &event).await?;
        Ok((event, response))
    }
}

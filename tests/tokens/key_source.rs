//! When a key set is fetched: on first use, and again at most once a minute, whatever comes. The clock is moved.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use flag_schedules::domain::time::Timestamp;
use flag_schedules::error::BoxError;
use flag_schedules::http::keys::{FIRST_FETCH_INTERVAL, KeySetCache, KeySource, REFRESH_INTERVAL};
use flag_schedules::http::problem::RETRY_AFTER_SECONDS;
use flag_schedules::ports::clock::Clock;
use flag_schedules::ports::key_server::KeyServer;
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::keys_of;
use crate::support::LIMIT;

/// A key server and a clock, both in the hands of the test.
struct Bench {
    now: Mutex<Timestamp>,
    /// What it answers; an error when there is nothing.
    answer: Mutex<Option<String>>,
    asked: AtomicUsize,
    /// Each answer takes one of these.
    answers: Semaphore,
    /// How long an answer takes.
    takes: Mutex<chrono::TimeDelta>,
}

impl Clock for Bench {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }
}

#[async_trait]
impl KeyServer for Bench {
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, BoxError> {
        assert_eq!(url, "https://id.example.test/jwks.json");
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await?.forget();
        self.pass(*self.takes.lock().unwrap());
        self.answer.lock().unwrap().clone().map(String::into_bytes).ok_or_else(|| "it is down".into())
    }
}

impl Bench {
    /// A server that is down, and keys that are to come from it.
    fn new() -> (Arc<Self>, Arc<KeySetCache>) {
        let bench = Arc::new(Self {
            now: Mutex::new(Timestamp::parse("2026-02-09T09:00:00Z").unwrap()),
            answer: Mutex::default(),
            asked: AtomicUsize::new(0),
            answers: Semaphore::new(1_000),
            takes: Mutex::default(),
        });
        let source = KeySource::Url("https://id.example.test/jwks.json".to_owned());
        let keys = KeySetCache::new(source, Arc::clone(&bench) as _, Arc::clone(&bench) as _);
        (bench, Arc::new(keys))
    }

    /// A server with these keys, which have been fetched.
    async fn with(keys: &harness::tokens::Keys) -> (Arc<Self>, Arc<KeySetCache>) {
        let (bench, source) = Self::new();
        bench.serve(&[keys]);
        assert!(source.key_set_for(keys.kid()).await.is_some_and(|set| set.knows(keys.kid())));
        assert_eq!(bench.asked(), 1);
        (bench, source)
    }

    fn serve(&self, keys: &[&harness::tokens::Keys]) {
        let keys: Vec<_> = keys.iter().map(|keys| keys.jwk()).collect();
        self.answer(Some(&json!({ "keys": keys }).to_string()));
    }

    fn answer(&self, text: Option<&str>) {
        *self.answer.lock().unwrap() = text.map(str::to_owned);
    }

    fn pass(&self, time: chrono::TimeDelta) {
        let mut now = self.now.lock().unwrap();
        *now = Timestamp::truncate(now.to_utc() + time);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until it has been asked this often.
    async fn wait_until_asked(&self, times: usize) {
        let asked = async {
            while self.asked() < times {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, asked).await.unwrap_or_else(|_| panic!("asked {} times, not {times}", self.asked()));
    }
}

const A_MILLISECOND: chrono::TimeDelta = chrono::TimeDelta::milliseconds(1);

/// Whether a key id is found.
async fn finds(source: &KeySetCache, id: &str) -> bool {
    source.key_set_for(id).await.is_some_and(|set| set.knows(id))
}

#[tokio::test]
async fn keys_are_fetched_when_first_needed_and_never_again_while_they_suffice() {
    let (bench, source) = Bench::new();
    let keys = harness::tokens::Keys::generate();
    bench.serve(&[&keys]);
    assert_eq!(bench.asked(), 0);

    for _ in 0..10 {
        assert!(finds(&source, keys.kid()).await);
        bench.pass(chrono::TimeDelta::hours(1));
    }

    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn keys_that_were_given_are_never_fetched() {
    let (bench, _) = Bench::new();
    let keys = harness::tokens::Keys::generate();
    let source =
        KeySetCache::new(KeySource::Inline(keys_of(&keys)), Arc::clone(&bench) as _, Arc::clone(&bench) as _);

    assert!(finds(&source, keys.kid()).await);
    assert!(!finds(&source, "unknown").await);
    assert!(source.key_set_for("unknown").await.is_some(), "there are keys, only not this one");

    assert_eq!(bench.asked(), 0);
}

#[tokio::test]
async fn a_storm_of_unknown_key_ids_is_one_fetch_a_minute() {
    let keys = harness::tokens::Keys::generate();
    let (bench, source) = Bench::with(&keys).await;

    for minute in 1..=3 {
        for number in 0..100 {
            assert!(!finds(&source, &format!("unknown-{number}")).await);
            assert!(finds(&source, keys.kid()).await);
        }
        assert_eq!(bench.asked(), minute, "in minute {minute}");
        bench.pass(REFRESH_INTERVAL - A_MILLISECOND);
        assert!(!finds(&source, "unknown").await);
        assert_eq!(bench.asked(), minute, "a millisecond before minute {minute} is over");
        bench.pass(A_MILLISECOND);
        assert!(!finds(&source, "unknown").await);
    }
    assert_eq!(REFRESH_INTERVAL, chrono::TimeDelta::seconds(60));
}

#[tokio::test]
async fn a_rotated_key_is_picked_up_and_the_one_withdrawn_is_dropped_with_it() {
    let [old, new] = [(); 2].map(|()| harness::tokens::Keys::generate());
    let (bench, source) = Bench::with(&old).await;
    bench.serve(&[&new]);
    bench.pass(REFRESH_INTERVAL);

    assert!(finds(&source, new.kid()).await);

    assert_eq!(bench.asked(), 2);
    assert!(!finds(&source, old.kid()).await, "the set is what the server says");
    assert_eq!(bench.asked(), 2, "and asking for the old one is no fetch within the minute");
}

#[tokio::test]
async fn a_refresh_that_fails_in_any_way_leaves_the_known_keys_and_is_tried_again_a_minute_later() {
    let [keys, new] = [(); 2].map(|()| harness::tokens::Keys::generate());
    let secret = json!({"keys": [new.jwk(), {"kty": "oct", "kid": "1", "k": "AAAA"}]}).to_string();
    let failures = [
        ("down", None),
        ("nothing", Some("")),
        ("HTML", Some("<!doctype html><title>Sign in</title>")),
        ("an error", Some(r#"{"error": "try again"}"#)),
        ("no keys", Some(r#"{"keys": []}"#)),
        ("useless keys", Some(r#"{"keys": [{"kty": "EC", "kid": "1"}]}"#)),
        ("half of it", Some(r#"{"keys": [{"kty": "EC","#)),
        ("a secret", Some(&*secret)),
    ];

    for (case, answer) in failures {
        let (bench, source) = Bench::with(&keys).await;
        bench.answer(answer);
        bench.pass(REFRESH_INTERVAL);
        for _ in 0..10 {
            assert!(!finds(&source, new.kid()).await, "{case}");
            assert!(finds(&source, keys.kid()).await, "{case}: the known key goes on");
        }
        assert_eq!(bench.asked(), 2, "{case}");

        bench.serve(&[&keys, &new]);
        bench.pass(REFRESH_INTERVAL);
        assert!(finds(&source, new.kid()).await, "{case}: a minute later");
        assert_eq!(bench.asked(), 3, "{case}");
    }
}

#[tokio::test]
async fn without_any_keys_the_next_attempt_is_made_when_callers_are_told_to_come_back() {
    let (bench, source) = Bench::new();
    let keys = harness::tokens::Keys::generate();

    for attempt in 1..=5 {
        for _ in 0..10 {
            assert!(source.key_set_for(keys.kid()).await.is_none());
        }
        assert_eq!(bench.asked(), attempt);
        bench.pass(FIRST_FETCH_INTERVAL - A_MILLISECOND);
        assert!(source.key_set_for(keys.kid()).await.is_none());
        assert_eq!(bench.asked(), attempt, "not a millisecond before");
        bench.pass(A_MILLISECOND);
    }
    bench.serve(&[&keys]);
    assert!(finds(&source, keys.kid()).await, "it works as soon as the server is back");
    bench.pass(FIRST_FETCH_INTERVAL);
    assert!(!finds(&source, "unknown").await);
    assert_eq!(bench.asked(), 6, "from then on it is one fetch a minute");
    assert_eq!(FIRST_FETCH_INTERVAL, chrono::TimeDelta::seconds(RETRY_AFTER_SECONDS.into()));
}

#[tokio::test]
async fn one_request_is_in_flight_however_many_wait_for_it() {
    let (bench, source) = Bench::new();
    let keys = harness::tokens::Keys::generate();
    bench.serve(&[&keys]);
    bench.answers.forget_permits(1_000);

    let waiting = join_all((0..50).map(|_| finds(&source, keys.kid())));
    let answering = async {
        bench.wait_until_asked(1).await;
        bench.answers.add_permits(1_000);
    };
    let (found, ()) = timeout(LIMIT, async { tokio::join!(waiting, answering) }).await.unwrap();

    assert!(found.into_iter().all(|found| found));
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn those_who_waited_for_a_slow_failure_do_not_fetch_one_after_the_other() {
    let (bench, source) = Bench::new();
    *bench.takes.lock().unwrap() = FIRST_FETCH_INTERVAL * 2;

    let found = timeout(LIMIT, join_all((0..50).map(|_| source.key_set_for("1")))).await.unwrap();

    assert!(found.iter().all(Option::is_none));
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn a_known_key_does_not_wait_for_a_refresh_under_way() {
    let keys = harness::tokens::Keys::generate();
    let (bench, source) = Bench::with(&keys).await;
    bench.answers.forget_permits(1_000);
    bench.pass(REFRESH_INTERVAL);
    let refreshing = tokio::spawn({
        let source = Arc::clone(&source);
        async move { finds(&source, "unknown").await }
    });
    bench.wait_until_asked(2).await;

    let found = timeout(LIMIT, finds(&source, keys.kid())).await;

    assert_eq!(found, Ok(true), "it is found while the server keeps the other one waiting");
    assert!(!refreshing.is_finished());
    bench.answers.add_permits(1);
    assert!(!timeout(LIMIT, refreshing).await.unwrap().unwrap());
}

#[tokio::test]
async fn a_request_that_is_given_up_during_a_fetch_leaves_nothing_locked() {
    let (bench, source) = Bench::new();
    let keys = harness::tokens::Keys::generate();
    bench.serve(&[&keys]);
    bench.answers.forget_permits(1_000);
    {
        let mut given_up = std::pin::pin!(source.key_set_for(keys.kid()));
        assert!(timeout(Duration::ZERO, &mut given_up).await.is_err());
    }
    assert_eq!(bench.asked(), 1);
    bench.answers.add_permits(1_000);

    assert!(
        source.key_set_for(keys.kid()).await.is_none(),
        "an attempt all the same: the next one has to wait"
    );
    bench.pass(FIRST_FETCH_INTERVAL);
    assert!(finds(&source, keys.kid()).await);
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_keep_new_keys_away() {
    let [old, new] = [(); 2].map(|()| harness::tokens::Keys::generate());
    let (bench, source) = Bench::with(&old).await;
    bench.serve(&[&old, &new]);
    bench.pass(-chrono::TimeDelta::hours(1));

    assert!(finds(&source, new.kid()).await);

    assert_eq!(bench.asked(), 2);
    assert!(!finds(&source, "unknown").await);
    assert_eq!(bench.asked(), 2, "and a minute counts from there");
}

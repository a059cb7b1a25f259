//! Five thousand tokens near a valid one, each the same whenever it is played, through the whole handler: none is
//! accepted but the valid one itself.

use std::sync::atomic::{AtomicU64, Ordering};

use harness::api::list_request;

use super::forgery::{Issuer, forgeries};
use super::legal::faults;
use super::service::{Endpoint, Service};
use crate::seeds::Campaign;

/// How many tokens are played.
const CASES: u64 = 5_000;
/// How many at once, each on a database of its own.
const WORKERS: usize = 2;
const TOKENS: Campaign = Campaign { test: "no_token_near_a_valid_one_is_accepted", variables: "FUZZ" };
/// The flag that is asked for.
const FLAG: &str = "new-checkout";

#[test]
fn no_token_near_a_valid_one_is_accepted() {
    let [accepted, refused] = [(); 2].map(|()| AtomicU64::new(0));

    let cases = TOKENS.play(CASES, WORKERS, |seeds| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let issuer = Issuer::new();
        let service = runtime.block_on(async {
            let service = Service::start(&issuer.known.iter().collect::<Vec<_>>()).await;
            service.flag(FLAG, "production").await;
            service
        });
        let strategy = forgeries();
        for seed in seeds {
            let failure = TOKENS.run(seed, &strategy, |forgery| {
                let (token, valid) = forgery.tokens(&issuer);
                let event = list_request(FLAG, "").bearer(&token).event();
                let response = match runtime.block_on(service.answer(Endpoint::List, &event)) {
                    Ok(response) => response,
                    Err(error) => return vec![error],
                };
                // Blanks around a header's value are no part of it, and control characters are not allowed in it.
                let expected = if token.trim_matches([' ', '\t']) == valid {
                    accepted.fetch_add(1, Ordering::Relaxed);
                    200
                } else {
                    refused.fetch_add(1, Ordering::Relaxed);
                    if token.contains(|char: char| char.is_ascii_control() && char != '\t') {
                        400
                    } else {
                        401
                    }
                };
                let mut faults = faults(Endpoint::List, &event, &response);
                if response.status != expected {
                    faults.push(format!(
                        "{}, not {expected}, for {token}\nthe valid one: {valid}",
                        response.status
                    ));
                }
                faults
            });
            if failure.is_some() {
                return failure;
            }
        }
        None
    });

    let [accepted, refused] = [accepted, refused].map(AtomicU64::into_inner);
    if cases >= CASES {
        assert!(accepted > cases / 20, "the valid one was hardly ever tried: {accepted} of {cases}");
        assert!(refused > cases / 2, "hardly a token was forged: {refused} of {cases}");
    }
}

//! Every statement of every function with every fault, and a sample of pairs of faults.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use harness::interceptor::Act;
use harness::settings;

use super::case::Case;
use super::check::violations;
use super::fault::{ACTS, CODES, Fault, Point};
use super::lane::Lane;
use super::scenario::Scenario;

/// Services that play cases at the same time: most of them wait.
const LANES: usize = 16;
/// Pairs of faults that are tried without FAULT_MINUTES.
const PAIRS: usize = 60;
/// The same statement is met at most so often in one call.
const OCCURRENCES: usize = 3;

/// What a call sends to the database when nothing, or only what belongs to the scenario, goes wrong.
async fn rehearse(lane: &Lane) -> BTreeMap<Scenario, Vec<Point>> {
    let mut points = BTreeMap::new();
    for (number, scenario) in Scenario::ALL.into_iter().filter(|scenario| scenario.exists()).enumerate() {
        let name = format!("rehearsal{number}");
        let schedule = lane.arrange(scenario, &name).await;
        // The first call of a function opens its connection, which is no part of the call.
        lane.api.function(scenario.function()).await;
        lane.arm(&scenario.base(), &name).await;
        lane.call(scenario.function(), &scenario.event(&name, &schedule, &lane.token)).await;
        let trace = lane.interceptor.trace();
        lane.clear(&scenario.base()).await;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut met = Vec::new();
        for label in trace {
            let occurrence = counts.entry(label.clone()).or_default();
            *occurrence += 1;
            met.push(Point { label, occurrence: *occurrence });
        }
        met.retain(|point| point.occurrence <= OCCURRENCES);
        // What belongs to the scenario has its message already.
        met.retain(|point| {
            !scenario.base().iter().any(|base| matches!(base, Fault::Message(at, _) if at == point))
        });
        points.insert(scenario, met);
    }
    points
}

/// All single faults.
fn singles(points: &BTreeMap<Scenario, Vec<Point>>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (scenario, points) in points {
        let acts = ACTS.into_iter().chain(CODES.map(Act::Raise));
        let messages =
            points.iter().flat_map(|point| acts.clone().map(|act| Fault::Message(point.clone(), act)));
        for fault in messages.chain(scenario.other_faults()) {
            cases.push(Case { scenario: *scenario, faults: vec![fault] });
        }
    }
    cases
}

/// Pairs of faults of one scenario, in an order that the seed decides.
fn pairs(singles: &[Case], seed: u64) -> impl Iterator<Item = Case> {
    let mut dice = seed;
    let mut roll = move |sides: usize| {
        // The multiplier and the increment of Knuth's MMIX.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(dice >> 33).unwrap_or(0) % sides
    };
    std::iter::from_fn(move || {
        loop {
            let (first, second) = (&singles[roll(singles.len())], &singles[roll(singles.len())]);
            if first.scenario == second.scenario
                && first != second
                && compatible(&first.faults[0], &second.faults[0])
            {
                let faults = vec![first.faults[0].clone(), second.faults[0].clone()];
                return Some(Case { scenario: first.scenario, faults });
            }
        }
    })
}

/// Whether two faults can be there together: one message has one fate, one table one holder.
fn compatible(first: &Fault, second: &Fault) -> bool {
    let holds = |fault: &Fault| matches!(fault, Fault::TableLocked(_) | Fault::RowsLocked(_));
    match (first, second) {
        (Fault::Message(one, _), Fault::Message(other, _)) => one != other,
        _ if holds(first) && holds(second) => false,
        _ if first.is_of_logs() && second.is_of_logs() => false,
        // An outbox that is away cannot be locked or have rights taken.
        (Fault::OutboxMissing, other) | (other, Fault::OutboxMissing) => {
            !holds(other) && *other != Fault::OutboxRefused
        }
        _ => true,
    }
}

/// The pairs that are always tried: an outbox in the way, and the answer to a change lost.
fn named_pairs(singles: &[Case]) -> Vec<Case> {
    let lost = singles.iter().filter(|case| match &case.faults[0] {
        Fault::Message(point, Act::LoseAnswer | Act::CutDuring) => {
            ["create_schedule", "cancel_schedule", "record_outcomes", "commit"]
                .contains(&point.label.as_str())
        }
        _ => false,
    });
    let pair =
        |case: &Case, other| Case { scenario: case.scenario, faults: vec![case.faults[0].clone(), other] };
    lost.flat_map(|case| [pair(case, Fault::OutboxMissing), pair(case, Fault::LogsDenied)]).collect()
}

/// What came of a series of cases.
#[derive(Default)]
struct Tally {
    played: AtomicUsize,
    unreached: Mutex<BTreeSet<String>>,
    failures: Mutex<Vec<(String, String)>>,
}

/// Plays cases, several at a time.
async fn play(cases: impl Iterator<Item = Case> + Send + 'static) -> Arc<Tally> {
    let cases = Arc::new(Mutex::new(cases.enumerate()));
    let tally = Arc::new(Tally::default());
    let workers = (0..LANES).map(|_| tokio::spawn(work(Arc::clone(&cases), Arc::clone(&tally))));
    for worker in join_all(workers).await {
        worker.unwrap();
    }
    tally
}

async fn work(cases: Arc<Mutex<impl Iterator<Item = (usize, Case)>>>, tally: Arc<Tally>) {
    let next = || cases.lock().unwrap_or_else(PoisonError::into_inner).next();
    let mut lane = None;
    while let Some((number, case)) = next() {
        let here = match lane.take() {
            Some(lane) => lane,
            None => {
                let lane = Lane::start().await;
                for function in ["create-schedule", "cancel-schedule", "list-schedules", "schedule-processor"]
                {
                    lane.api.function(function).await;
                }
                lane
            }
        };
        let played = std::panic::AssertUnwindSafe(case.play(&here, number)).catch_unwind().await;
        tally.played.fetch_add(1, Ordering::Relaxed);
        let found = match played {
            Ok(seen) => {
                if seen.unreached > 0 {
                    tally.unreached.lock().unwrap().insert(case.to_string());
                }
                let mut found = violations(&case, &seen, &here);
                if !found.is_empty() {
                    found.push(format!("the call: {:?}", seen.first));
                }
                found
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                vec![format!("the case could not be played: {}", text.unwrap_or_default())]
            }
        };
        if found.is_empty() {
            lane = Some(here);
        } else {
            // What is left of a case that failed would be taken for a failure of the next: a new service.
            let told = format!(
                "{case}\n    {}\n    again: FAULT_CASE='{case}' make test T=fault_matrix",
                found.join("\n    ")
            );
            tally.failures.lock().unwrap().push((case.to_string(), told));
        }
    }
}

impl Tally {
    fn assert_fine(&self, what: &str, began: Instant) {
        let failures = self.failures.lock().unwrap();
        let played = self.played.load(Ordering::Relaxed);
        if settings::get("FAULT_MINUTES").is_some() || !failures.is_empty() {
            // Straight to the terminal, past the capture of what tests print.
            let _ = writeln!(
                std::io::stderr(),
                "{played} {what} in {:?}: {} failed; {} whose message did not come",
                began.elapsed(),
                failures.len(),
                self.unreached.lock().unwrap().len()
            );
        }
        let told: Vec<&str> = failures.iter().map(|(_, told)| told.as_str()).collect();
        assert!(told.is_empty(), "{} of {played} {what} fail:\n{}", told.len(), told.join("\n"));
    }
}

/// The points of all scenarios, found once.
async fn points() -> &'static BTreeMap<Scenario, Vec<Point>> {
    static POINTS: OnceLock<BTreeMap<Scenario, Vec<Point>>> = OnceLock::new();
    if let Some(points) = POINTS.get() {
        return points;
    }
    let found = rehearse(&Lane::start().await).await;
    POINTS.get_or_init(|| found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_matrix_has_every_statement_of_the_service() {
    let folder = settings::workspace().join("shared/src/adapters/postgres/sql");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let statements: BTreeSet<String> =
        files.map(|file| file.file_stem().unwrap().to_string_lossy().into_owned()).collect();

    let met: BTreeSet<String> = points().await.values().flatten().map(|point| point.label.clone()).collect();

    let missing: Vec<&String> = statements.difference(&met).collect();
    assert!(
        missing.is_empty(),
        "no scenario sends these statements, so nobody knows how they fail: {missing:?}"
    );
    assert!(met.contains("begin") && met.contains("commit"), "{met:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_matrix_of_single_faults_keeps_all_invariants() {
    let began = Instant::now();
    let mut cases = singles(points().await);
    match settings::get("FAULT_CASE") {
        None => {}
        Some(wanted) => {
            cases.extend(named_pairs(&cases));
            cases.extend(pair_of(&cases, &wanted));
            cases.retain(|case| case.to_string().contains(&wanted));
            assert!(!cases.is_empty(), "there is no case {wanted}");
        }
    }
    // The slow ones first: they wait while the others work.
    cases.sort_by_key(|case| !case.faults.iter().any(Fault::is_slow));

    let tally = play(cases.into_iter()).await;

    tally.assert_fine("single faults", began);
    let unreached = tally.unreached.lock().unwrap();
    let first: Vec<&String> = unreached.iter().filter(|case| case.contains(".1/")).collect();
    assert!(first.is_empty(), "these were rehearsed, but did not come: {first:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_matrix_of_pairs_keeps_all_invariants() {
    if settings::get("FAULT_CASE").is_some() {
        return;
    }
    let began = Instant::now();
    let singles: &'static [Case] = Box::leak(singles(points().await).into_boxed_slice());
    let number = |name: &str| settings::get(name).map(|value| value.parse::<u64>().unwrap());
    let seed = number("FAULT_SEED").unwrap_or(1);
    let minutes = number("FAULT_MINUTES");
    let end = minutes.map(|minutes| began + Duration::from_secs(60 * minutes));
    let count = if minutes.is_some() { usize::MAX } else { PAIRS };
    let sample =
        pairs(singles, seed).take(count).take_while(move |_| end.is_none_or(|end| Instant::now() < end));

    let tally = play(named_pairs(singles).into_iter().chain(sample)).await;

    tally.assert_fine("pairs of faults", began);
}

/// The pair of this name, as a failure tells it.
fn pair_of(singles: &[Case], name: &str) -> Option<Case> {
    let (scenario, faults) = name.split_once(':')?;
    let (one, other) = faults.split_once('+')?;
    let single = |fault: &str| {
        singles
            .iter()
            .find(|case| case.faults.len() == 1 && case.to_string() == format!("{scenario}:{fault}"))
    };
    let (one, other) = (single(one)?, single(other)?);
    Some(Case { scenario: one.scenario, faults: vec![one.faults[0].clone(), other.faults[0].clone()] })
}

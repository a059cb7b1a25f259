//! Every statement of every function with every fault, and a sample of pairs of faults.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use harness::interceptor::{Act, PREPARE};
use harness::settings;
use tokio::sync::OnceCell;

use super::case::Case;
use super::fault_kinds::{ACTS, CODES, Fault, OUTBOX, Point};
use super::invariants::violations;
use super::lane::Lane;
use super::scenario::Scenario;

/// Services that play cases at the same time, each with seven connections to the server that all tests share; and how
/// many of them begin with cases that do not wait.
const SINGLE_LANES: [usize; 2] = [15, 3];
const PAIR_LANES: [usize; 2] = [6, 2];
/// Pairs of faults that are tried without FAULT_MINUTES.
const PAIRS: usize = 60;
/// Characters of an answer or a panic that a failure shows.
const SHOWN: usize = 1_500;
/// The same statement is met at most so often in one call.
const OCCURRENCES: usize = 3;

/// What a call sends to the database when nothing but these faults goes wrong.
async fn rehearse(lane: &Lane, scenario: Scenario, faults: &[Fault]) -> Vec<Point> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("rehearsal{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let faults: Vec<Fault> = scenario.base().into_iter().chain(faults.iter().cloned()).collect();
    let schedule = lane.arrange(scenario, &name).await;
    // The first call of a function opens its connection, which is no part of the call.
    lane.api.function(scenario.function()).await;
    lane.arm(&faults, &name).await;
    lane.call(scenario.function(), &scenario.event(&name, &schedule, &lane.token)).await;
    let trace = lane.interceptor.trace();
    lane.clear(&faults).await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut met = Vec::new();
    for label in trace {
        let occurrence = counts.entry(label.clone()).or_default();
        *occurrence += 1;
        met.push(Point { label, occurrence: *occurrence });
    }
    met.retain(|point| point.occurrence <= OCCURRENCES);
    // Sent only the first time on a connection: see `prepared`.
    met.retain(|point| point.label != PREPARE);
    // What belongs to the scenario has its message already.
    met.retain(|point| !faults.iter().any(|fault| matches!(fault, Fault::Message(at, _) if at == point)));
    met
}

/// All single faults.
fn singles(points: &Points) -> Vec<Case> {
    let mut cases = Vec::new();
    for (scenario, points) in &points.healthy {
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
    match (first, second) {
        (Fault::Message(one, _), Fault::Message(other, _)) => one != other,
        _ if first.is_lock() && second.is_lock() => false,
        _ if first.is_of_logs() && second.is_of_logs() => false,
        // An outbox that is away cannot be locked or have rights taken.
        (Fault::OutboxMissing, other) | (other, Fault::OutboxMissing) => {
            !other.is_lock() && *other != Fault::OutboxRefused
        }
        _ => true,
    }
}

/// The pairs that are always tried: whatever is sent while the outbox is away, cut off in every way.
fn without_outbox(points: &Points) -> Vec<Case> {
    let acts = [Act::CutBefore, Act::CutDuring, Act::LoseAnswer, Act::Terminate];
    let mut cases = Vec::new();
    for (scenario, points) in &points.without_outbox {
        for message in points.iter().flat_map(|point| acts.map(|act| Fault::Message(point.clone(), act))) {
            cases.push(Case { scenario: *scenario, faults: vec![Fault::OutboxMissing, message] });
        }
    }
    cases
}

/// An outbox in the way, and CloudWatch Logs too.
fn nowhere_to_go() -> Vec<Case> {
    let mut cases = Vec::new();
    for scenario in [Scenario::Create, Scenario::Cancel, Scenario::Tick] {
        for outbox in [Fault::OutboxMissing, Fault::OutboxRefused, Fault::TableLocked(OUTBOX)] {
            for logs in [Fault::LogsSlow, Fault::LogsDown, Fault::LogsDenied] {
                cases.push(Case { scenario, faults: vec![outbox.clone(), logs] });
            }
        }
    }
    cases
}

/// What came of a series of cases.
#[derive(Default)]
struct Tally {
    played: AtomicUsize,
    unreached: Mutex<BTreeSet<String>>,
    failures: Mutex<Vec<(String, String)>>,
}

/// Cases to be played.
type Queue = Box<dyn Iterator<Item = Case> + Send>;

/// Plays two queues of cases, several at a time: slow ones, most of whose time is waiting, and fast ones meanwhile.
async fn play(
    [lanes, fast_lanes]: [usize; 2],
    queues: [impl Iterator<Item = Case> + Send + 'static; 2],
) -> Arc<Tally> {
    let tally = Arc::new(Tally::default());
    let queues = Arc::new(Mutex::new(queues));
    let workers = (0..lanes).map(|worker| {
        let (queues, tally) = (Arc::clone(&queues), Arc::clone(&tally));
        let next = move || {
            let queues = &mut *queues.lock().unwrap_or_else(PoisonError::into_inner);
            let [slow, fast] = queues;
            if worker < fast_lanes {
                fast.next().or_else(|| slow.next())
            } else {
                slow.next().or_else(|| fast.next())
            }
        };
        tokio::spawn(work(next, tally))
    });
    for worker in join_all(workers).await {
        worker.unwrap();
    }
    tally
}

async fn work(next: impl Fn() -> Option<Case>, tally: Arc<Tally>) {
    let mut lane = None;
    while let Some(case) = next() {
        let number = tally.played.fetch_add(1, Ordering::Relaxed);
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
        let found = match played {
            Ok(seen) => {
                if seen.unreached > 0 {
                    tally.unreached.lock().unwrap().insert(case.to_string());
                }
                let mut found = violations(&case, &seen, &here);
                if !found.is_empty() {
                    let call: String = format!("{:?}", seen.first).chars().take(SHOWN).collect();
                    found.push(format!("the call: {call}"));
                    let retry: String = format!("{:?}", seen.retry).chars().take(SHOWN).collect();
                    found.push(format!("its retry: {retry}"));
                }
                found
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                let text: String = text.unwrap_or_default().chars().take(SHOWN).collect();
                vec![format!("the case could not be played: {text}")]
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
                "{played} {what} in {:?}: {} failed; {} never met their message (the first fault had ended the call)",
                began.elapsed(),
                failures.len(),
                self.unreached.lock().unwrap().len()
            );
        }
        let told: Vec<&str> = failures.iter().map(|(_, told)| told.as_str()).collect();
        assert!(told.is_empty(), "{} of {played} {what} fail:\n{}", told.len(), told.join("\n"));
    }
}

/// The points of each scenario.
#[derive(Default)]
struct Points {
    healthy: BTreeMap<Scenario, Vec<Point>>,
    without_outbox: BTreeMap<Scenario, Vec<Point>>,
}

impl Points {
    /// Found once.
    async fn find() -> &'static Self {
        static POINTS: OnceCell<Points> = OnceCell::const_new();
        let find = async || {
            let lane = Lane::start().await;
            let mut points = Self::default();
            for scenario in Scenario::ALL.into_iter().filter(|scenario| scenario.exists()) {
                points.healthy.insert(scenario, rehearse(&lane, scenario, &[]).await);
            }
            // Of a tick that goes another way, what it alone sends.
            let usual: BTreeSet<String> =
                points.healthy[&Scenario::Tick].iter().map(|point| point.label.clone()).collect();
            for scenario in [Scenario::TickAgain, Scenario::TickLocked, Scenario::TickRejected] {
                let met = points.healthy.get_mut(&scenario).expect("every scenario has been rehearsed");
                met.retain(|point| !usual.contains(&point.label));
            }
            for scenario in [Scenario::Create, Scenario::CreateAgain, Scenario::Cancel, Scenario::Tick] {
                let met = rehearse(&lane, scenario, &[Fault::OutboxMissing]).await;
                points.without_outbox.insert(scenario, met);
            }
            points
        };
        POINTS.get_or_init(find).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_matrix_has_every_statement_of_the_service() {
    let folder = settings::workspace().join("shared/src/adapters/postgres/sql");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let statements: BTreeSet<String> =
        files.map(|file| file.file_stem().unwrap().to_string_lossy().into_owned()).collect();

    let met: BTreeSet<String> =
        Points::find().await.healthy.values().flatten().map(|point| point.label.clone()).collect();

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
    let points = Points::find().await;
    let mut cases = singles(points);
    if let Some(wanted) = settings::get("FAULT_CASE") {
        cases.extend(pair_of(&cases, &wanted));
        cases.extend(without_outbox(points));
        cases.retain(|case| case.to_string().contains(&wanted));
        assert!(!cases.is_empty(), "there is no case {wanted}");
    }
    let (slow, fast): (Vec<_>, Vec<_>) =
        cases.iter().cloned().partition(|case| case.faults.iter().any(Fault::is_slow));

    let tally = play(SINGLE_LANES, [slow, fast].map(Vec::into_iter)).await;

    tally.assert_fine("single faults", began);
    // A function that had no time left for a message, because of all the others, has it when it is alone.
    let unreached = std::mem::take(&mut *tally.unreached.lock().unwrap());
    cases.retain(|case| unreached.contains(&case.to_string()) && case.to_string().contains(".1/"));
    let tally = play([1, 0], [cases, Vec::new()].map(Vec::into_iter)).await;
    tally.assert_fine("single faults alone", began);
    let unreached = tally.unreached.lock().unwrap();
    assert!(unreached.is_empty(), "these were rehearsed, but did not come: {unreached:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_matrix_of_pairs_keeps_all_invariants() {
    if settings::get("FAULT_CASE").is_some() {
        return;
    }
    let began = Instant::now();
    let points = Points::find().await;
    let singles: &'static [Case] = Box::leak(singles(points).into_boxed_slice());
    let number = |name: &str| settings::get(name).map(|value| value.parse::<u64>().unwrap());
    let seed = number("FAULT_SEED").unwrap_or(1);
    let minutes = number("FAULT_MINUTES");
    let end = minutes.map(|minutes| began + Duration::from_secs(60 * minutes));
    let count = if minutes.is_some() { usize::MAX } else { PAIRS };
    let sample =
        pairs(singles, seed).take(count).take_while(move |_| end.is_none_or(|end| Instant::now() < end));

    let tally = play(
        PAIR_LANES,
        [
            Box::new(nowhere_to_go().into_iter().chain(sample)) as Queue,
            Box::new(without_outbox(points).into_iter()),
        ],
    )
    .await;

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

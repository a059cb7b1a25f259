//! The benchmarks: each figure beside its floor, measured side by side in one run, as a Markdown table.
//!
//! Run by `make bench`; `docs/performance.md` says what each row means. These machines are noisy: what counts is the
//! ratio, and no test asserts a time.

#![expect(clippy::print_stdout, reason = "the table is the result")]

mod arrivals;
mod billed;
mod busy;
mod cold;
mod flush;
mod histogram;
mod history;
mod inside;
mod instances;
mod lateness;
mod load;
mod load_rows;
mod machine;
mod outage;
mod pages;
mod pgbench;
mod results;
mod round_trips;
mod scaling;
mod series;
mod server_cpu;
mod size;
mod statements;
mod table;
mod throughput;
mod tick;
mod verify;
mod warm;

use results::Results;
use table::Table;

/// What there is to measure, in the order of the table.
const SUBJECTS: [&str; 19] = [
    "tick",
    "guards",
    "wide",
    "lateness",
    "history",
    "pages",
    "cold",
    "warm",
    "round-trips",
    "flush",
    "outage",
    "busy",
    "throughput",
    "pooled",
    "load",
    "size",
    "billed",
    "verify",
    "scaling",
];
/// What takes so long that it is measured only when it is named.
const LONG: [&str; 1] = ["scaling"];

/// The arguments are the subjects to measure; all but the long ones by default. One thread, as a function has: the handlers that
/// run in this process and the clients that are their floors run on it alike. The servers of the harness have their own.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|subject| !SUBJECTS.contains(&subject.as_str())) {
        eprintln!("there is no {unknown}; there are {}", SUBJECTS.join(", "));
        std::process::exit(2);
    }
    let version = machine::server_version().await;
    let machine = machine::described(&version);
    let results = Results::of(&version);
    let mut table = Table::default();
    let is_wanted = |subject: &&str| {
        if wanted.is_empty() { !LONG.contains(subject) } else { wanted.iter().any(|it| it == subject) }
    };
    for subject in SUBJECTS.into_iter().filter(is_wanted) {
        let begun = std::time::Instant::now();
        eprintln!("measuring {subject}");
        let mut part = Table::default();
        measure(subject, &mut part).await;
        results.keep(subject, &machine, &part);
        table.append(part);
        eprintln!("measured {subject} in {:.0} s", begun.elapsed().as_secs_f64());
    }
    println!("{}\n\n{table}", machine);
}

async fn measure(subject: &str, table: &mut Table) {
    match subject {
        "tick" => tick::measure(table, &[100, 1_000, 10_000, 100_000]).await,
        "guards" => tick::measure_guards(table, 10_000).await,
        "wide" => tick::measure_wide(table, &[1_700, 5_000]).await,
        "lateness" => lateness::measure(table).await,
        "history" => history::measure(table, 1_000_000).await,
        "pages" => pages::measure(table, 1_000).await,
        "cold" => cold::measure(table).await,
        "warm" => warm::measure(table).await,
        "round-trips" => round_trips::measure(table).await,
        "flush" => flush::measure(table).await,
        "outage" => outage::measure(table).await,
        "busy" => busy::measure(table).await,
        "throughput" => throughput::measure(table).await,
        "pooled" => throughput::measure_pooled(table).await,
        "load" => load::measure(table).await,
        "billed" => billed::measure(table).await,
        "verify" => verify::measure(table, 500_000).await,
        "scaling" => scaling::measure(table).await,
        _ => size::measure(table).await,
    }
}

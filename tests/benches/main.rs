//! The benchmarks: each figure beside its floor, measured side by side in one run, as a Markdown table.
//!
//! Run by `make bench`. These machines are noisy: what counts is the ratio, and no test asserts a time.

#![expect(clippy::print_stdout, reason = "the table is the result")]

mod outage;
mod table;
mod tick;

use table::Table;

#[tokio::main]
async fn main() {
    let mut table = Table::default();
    tick::measure(&mut table, &[100, 1_000, 10_000, 100_000]).await;
    outage::measure(&mut table).await;
    println!("{table}");
}

//! The same measurements as elsewhere, with sizes that take long: how figures grow. The sizes are settings, see `make help`.

use harness::settings;

use crate::table::Table;
use crate::{history, pages, tick, verify};

/// Measures ticks, a history, deep pages and a verification.
pub async fn measure(table: &mut Table) {
    tick::measure(table, &sizes("DUE", "100 1000 10000 100000 1000000")).await;
    history::measure(table, size("HISTORY", 10_000_000)).await;
    pages::measure(table, size("PAGES", 10_000)).await;
    verify::measure(table, size::<i64>("TRANSITIONS", 2_000_000) / 2).await;
}

fn sizes(name: &str, usual: &str) -> Vec<usize> {
    let text = settings::get(name).unwrap_or_else(|| usual.to_owned());
    let sizes: Option<Vec<usize>> = text.split_whitespace().map(|size| size.parse().ok()).collect();
    sizes.unwrap_or_else(|| panic!("{name} is {text}: it may be numbers with spaces between them"))
}

fn size<N: std::str::FromStr>(name: &str, usual: N) -> N {
    let Some(text) = settings::get(name) else { return usual };
    text.parse().unwrap_or_else(|_| panic!("{name} is {text}: it may be a number"))
}

//! Adopted rows, generated so that they shrink: healthy flags, and flags with something odd in any column.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::shape::{Adopted, Column};
use super::values::{self, TIME_ZONES};
use crate::support::LIMIT;

/// Flags with one due schedule and nothing odd.
pub const HEALTHY: usize = 3;
/// Odd columns of one row, at most: of a row in which everything is odd, one is to blame.
const ODD_COLUMNS: usize = 4;

/// Column and SQL expression; what is not here has its default.
pub type Cells = BTreeMap<String, String>;

/// A flag with something odd, and its schedules.
#[derive(Clone, Debug)]
pub struct OddFlag {
    pub key: String,
    pub cells: Cells,
    pub schedules: Vec<Cells>,
}

/// All rows, and the time zone of the database.
#[derive(Clone, Debug)]
pub struct Rows {
    pub time_zone: &'static str,
    pub flags: Vec<OddFlag>,
}

/// Rows with odd values in any of these columns.
pub fn rows(columns: &[Column]) -> BoxedStrategy<Rows> {
    let of = |table: &str| columns.iter().filter(|column| column.table == table).cloned().collect::<Vec<_>>();
    let (flags, schedules) = (of("feature_flags"), of("feature_flag_schedules"));
    let flag = (keys(), cells(flags), vec(cells(schedules), 1..4))
        .prop_map(|(key, cells, schedules)| OddFlag { key, cells, schedules });
    (select(&TIME_ZONES[..]), vec(flag, 1..5))
        .prop_map(|(time_zone, flags)| Rows { time_zone, flags })
        .boxed()
}

fn cells(columns: Vec<Column>) -> BoxedStrategy<Cells> {
    let most = ODD_COLUMNS.min(columns.len());
    subsequence(columns, 0..=most)
        .prop_flat_map(|columns| {
            let cells: Vec<_> = columns
                .into_iter()
                .map(|column| {
                    values::of(&column.kind, &column.name).prop_map(move |value| (column.name.clone(), value))
                })
                .collect();
            cells
        })
        .prop_map(|cells| cells.into_iter().collect())
        .boxed()
}

/// Keys of flags, after a number that makes them unique; some cannot be asked for.
fn keys() -> impl Strategy<Value = String> {
    select(vec![
        "",
        "-odd",
        " / ?#&=+;",
        "-\u{202e}\u{1f389}",
        "-\"quoted'",
        "-..",
        "-line\nbreak",
        "-\u{1b}[31m",
    ])
    .prop_map(str::to_owned)
}

impl OddFlag {
    /// Whether a request can name it: control characters are refused.
    pub fn can_be_asked_for(&self) -> bool {
        !self.key.contains(|c: char| c.is_control())
    }
}

impl Rows {
    /// The key of a flag.
    pub fn key(&self, index: usize) -> String {
        format!("odd-{index}{}", self.flags[index].key)
    }

    /// Stores the rows. What a constraint of the tables refuses is not there: nobody can have such a row.
    pub async fn store(&self, world: &Adopted) -> Stored {
        world.reset(self.time_zone).await;
        let mut stored = Stored::default();
        let healthy = format!(
            "insert into feature_flags (flag_key) select 'healthy-' || n from generate_series(1, {HEALTHY}) n;
             insert into feature_flag_schedules (flag_id, scheduled_at, updates)
             select id, now() - interval '1 minute', '{{\"enabled\": true}}' from feature_flags"
        );
        world.owner.batch_execute(&healthy).await.unwrap();
        for (index, flag) in self.flags.iter().enumerate() {
            let mut cells = flag.cells.clone();
            cells.insert("flag_key".to_owned(), literal(&self.key(index)));
            let Some(id) = insert(world, "feature_flags", &cells).await else { continue };
            for schedule in &flag.schedules {
                let mut cells = schedule.clone();
                cells.insert("flag_id".to_owned(), literal(&id));
                let default = |cells: &mut Cells, column: &str, value: &str| {
                    cells.entry(column.to_owned()).or_insert_with(|| value.to_owned());
                };
                default(&mut cells, "scheduled_at", "now() - interval '1 minute'");
                default(&mut cells, "updates", "('{\"enabled\": true}')::jsonb");
                if let Some(id) = insert(world, "feature_flag_schedules", &cells).await {
                    stored.schedules.insert(id, (index, cells));
                }
            }
            stored.flags.push(index);
        }
        stored
    }
}

/// What the database took.
#[derive(Debug, Default)]
pub struct Stored {
    /// Indexes of flags.
    pub flags: Vec<usize>,
    /// Schedules by id, with their flag's index and what was written.
    pub schedules: BTreeMap<String, (usize, Cells)>,
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The new row's id.
async fn insert(world: &Adopted, table: &str, cells: &Cells) -> Option<String> {
    let columns: Vec<&str> = cells.keys().map(String::as_str).collect();
    let values: Vec<&str> = cells.values().map(String::as_str).collect();
    let sql = format!(
        "insert into {table} ({}) values ({}) returning id::text",
        columns.join(", "),
        values.join(", ")
    );
    let inserted = tokio::time::timeout(LIMIT, world.owner.query_one(&sql, &[])).await.unwrap();
    match inserted {
        Ok(row) => Some(row.get(0)),
        Err(error) => {
            // Constraints, and sizes that an index or a type does not take; anything else is a mistake in here.
            let code = error.code().map_or("", |code| code.code()).to_owned();
            assert!(["22", "23", "54"].iter().any(|class| code.starts_with(class)), "{sql}: {error:?}");
            None
        }
    }
}

//! Migrations that have landed are never edited: databases have run them. `checksums.txt` remembers what they were.

use std::collections::BTreeMap;
use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use harness::settings::workspace;

/// What was landed, as `sha256sum *.sql` prints it in `migrations/`.
const LANDED: &str = include_str!("checksums.txt");
const HOW_TO_ADD: &str = "add this line at the end of tests/migrations/checksums.txt:";

#[test]
fn landed_migrations_are_unchanged_and_every_new_one_is_listed() {
    let faults = faults(LANDED, &files());

    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn an_edited_missing_new_or_belated_migration_is_noticed() {
    let files = |entries: &[(&str, &str)]| -> BTreeMap<String, Vec<u8>> {
        entries.iter().map(|(name, sql)| ((*name).to_owned(), sql.as_bytes().to_vec())).collect()
    };
    let (first, second) = ("V20260101000000__first.sql", "V20260102000000__second.sql");
    let landed = format!("{}  {first}\n{}  {second}\n", sum(b"1"), sum(b"2"));
    let good = [(first, "1"), (second, "2")];
    let said = |landed: &str, entries: &[(&str, &str)]| faults(landed, &files(entries)).join("\n");

    assert_eq!(said(&landed, &good), "");
    assert!(
        said(&landed, &[(first, "1"), (second, "2 ")]).contains("V20260102000000__second.sql was edited")
    );
    assert!(said(&landed, &[(second, "2")]).contains("V20260101000000__first.sql is missing"));
    let new = said(&landed, &[good[0], good[1], ("V20260103000000__third.sql", "3")]);
    assert!(
        new.contains(HOW_TO_ADD) && new.contains(&format!("{}  V20260103000000__third.sql", sum(b"3"))),
        "{new}"
    );
    let belated = said(&landed, &[good[0], good[1], ("V20260101120000__belated.sql", "3")]);
    assert!(belated.contains("V20260101120000__belated.sql is earlier than"), "{belated}");
    let unordered: String = landed.lines().rev().map(|line| format!("{line}\n")).collect();
    assert!(said(&unordered, &good).contains("is out of order"));
    assert!(
        said(&landed, &[good[0], good[1], ("V3__third.sql", "3")]).contains("is no name for a migration")
    );
}

/// The migrations as they are now: file name and contents, in order.
pub fn files() -> BTreeMap<String, Vec<u8>> {
    let folder = workspace().join("migrations");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a folder of the repository can be read").path());
    let migrations = paths.filter(|path| path.extension().is_some_and(|extension| extension == "sql"));
    migrations
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        })
        .collect()
}

/// What is wrong with the files, given the list of those that have landed.
fn faults(landed: &str, files: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let mut faults = Vec::new();
    let landed: Vec<(&str, &str)> = landed.lines().filter_map(|line| line.split_once("  ")).collect();
    for pair in landed.windows(2) {
        if pair[0].1 >= pair[1].1 {
            faults.push(format!("{} is out of order in tests/migrations/checksums.txt", pair[1].1));
        }
    }
    for (expected, name) in &landed {
        match files.get(*name) {
            None => faults.push(format!("{name} is missing: databases have run it, so it must stay")),
            Some(sql) if sum(sql) != *expected => faults.push(format!(
                "{name} was edited: databases have run it as it was. Restore it, and put the change into a new migration"
            )),
            Some(_) => {}
        }
    }
    let newest = landed.iter().map(|(_, name)| *name).max().unwrap_or_default();
    for (name, sql) in files {
        if !is_well_named(name) {
            faults.push(format!(
                "{name} is no name for a migration: V<UTC time as YYYYMMDDhhmmss>__<change>.sql"
            ));
        } else if landed.iter().any(|(_, listed)| listed == name) {
            // Judged above.
        } else if name.as_str() < newest {
            faults.push(format!("{name} is earlier than {newest}, which has landed: give it a later time"));
        } else {
            faults.push(format!("{name} is new: {HOW_TO_ADD}\n{}  {name}", sum(sql)));
        }
    }
    faults
}

fn is_well_named(name: &str) -> bool {
    let Some((time, change)) = name.strip_prefix('V').and_then(|rest| rest.split_once("__")) else {
        return false;
    };
    let change = change.strip_suffix(".sql").unwrap_or_default();
    chrono::NaiveDateTime::parse_from_str(time, "%Y%m%d%H%M%S").is_ok()
        && time.len() == 14
        && !change.is_empty()
        && change.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn sum(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut sum, byte| {
        let _ = write!(sum, "{byte:02x}");
        sum
    })
}

//! SQL: one statement a file, named by its first line, used once, and understood by the migrated schema.

use std::collections::BTreeMap;

use harness::database::Database;
use harness::settings::workspace;

use super::source::sources;

/// Where the statements are.
const FOLDER: &str = "shared/src/adapters/postgres/sql";

#[test]
fn every_statement_begins_with_its_name_and_names_its_columns() {
    let faults: Vec<String> = statements().iter().flat_map(|(name, sql)| faults(name, sql)).collect();

    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn a_statement_without_its_name_or_with_a_star_is_told() {
    assert!(faults("find", "-- find: finds.\nselect a, count(*), 2 * b from t -- not select *").is_empty());
    assert_eq!(faults("find", "-- search: finds.\nselect a from t").len(), 1);
    for sql in [
        "select * from t",
        "select\n    *\nfrom t",
        "select t.* from t",
        "select a, * from t",
        "delete from t returning *",
    ] {
        assert_eq!(faults("find", &format!("-- find: finds.\n{sql}")).len(), 1, "{sql}");
    }
}

#[test]
fn every_statement_is_used_once() {
    let mut uses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources("shared/src") {
        for included in source.text.split("include_str!(\"").skip(1) {
            let file = included.split('"').next().unwrap_or_default();
            let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            uses.entry(format!("{folder}/{file}")).or_default().push(source.path.clone());
        }
    }

    let statements = statements();
    let used = |name: &String| uses.get(&format!("{FOLDER}/{name}.sql")).map_or(0, Vec::len);
    let faults: Vec<String> = statements
        .keys()
        .filter(|name| used(name) != 1)
        .map(|name| format!("{FOLDER}/{name}.sql is used {} times, not once", used(name)))
        .collect();

    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[tokio::test]
async fn every_statement_is_understood_by_the_migrated_schema() {
    let database = Database::migrated().await;
    let client = database.connect().await;
    let mut faults = Vec::new();
    for (name, sql) in statements() {
        if let Err(error) = client.batch_execute(&format!("prepare {name} as {sql}")).await {
            let told = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
            faults.push(format!("{FOLDER}/{name}.sql: {told}"));
        }
    }

    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The statements by their names.
pub fn statements() -> BTreeMap<String, String> {
    let folder = workspace().join(FOLDER);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("a folder of the repository can be read").path();
        assert!(path.extension().is_some_and(|extension| extension == "sql"), "{} is no SQL", path.display());
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    let statements: BTreeMap<String, String> = entries.map(read).collect();
    assert!(!statements.is_empty(), "there is no statement in {FOLDER}");
    statements
}

fn faults(name: &str, sql: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !sql.starts_with(&format!("-- {name}:")) {
        faults.push(format!(
            "{FOLDER}/{name}.sql must begin with `-- {name}:`, so that logs of slow queries lead here"
        ));
    }
    let code: Vec<&str> = sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let words: Vec<&str> = code.iter().flat_map(|line| line.split_whitespace()).collect();
    let star = words.windows(2).any(|pair| {
        let opens = ["select", "returning", "distinct"].contains(&pair[0].to_lowercase().as_str());
        (opens || pair[0].ends_with(',')) && pair[1].trim_end_matches(',') == "*"
    });
    if star || words.iter().any(|word| word.contains(".*")) {
        faults.push(format!("{FOLDER}/{name}.sql must name its columns instead of `*`"));
    }
    faults
}

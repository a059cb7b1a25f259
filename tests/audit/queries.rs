//! The queries of the audit documentation name fields that exist, and its examples are valid events.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::text;

/// What CloudWatch Logs Insights itself knows.
const WORDS: [&str; 19] = [
    "fields",
    "filter",
    "sort",
    "dedup",
    "stats",
    "by",
    "as",
    "and",
    "or",
    "asc",
    "desc",
    "count",
    "count_distinct",
    "sum",
    "latest",
    "bin",
    "strcontains",
    "limit",
    "d",
];

fn read(file: &str) -> String {
    std::fs::read_to_string(harness::settings::workspace().join(file)).unwrap()
}

/// The contents of the fenced blocks of a language.
fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    markdown.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned()).collect()
}

/// Every field that an event can have, as queries name it.
fn fields(schema: &Value, root: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        fields(root.pointer(reference.trim_start_matches('#')).unwrap(), root, path, found);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        fields(field, root, &path, found);
        found.insert(path);
    }
    for combined in ["allOf", "anyOf", "oneOf"] {
        schema[combined].as_array().into_iter().flatten().for_each(|part| fields(part, root, path, found));
    }
    for conditional in ["if", "then", "else"] {
        if schema.get(conditional).is_some() {
            fields(&schema[conditional], root, path, found);
        }
    }
}

/// The names in a query, without what stands in quotes; and those that the query makes itself.
fn names(query: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let unquoted: String = query.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._@".contains(c);
    let words: Vec<_> = unquoted.split(|c| !is_name(c)).filter(|word| !word.is_empty()).collect();
    let made = words.windows(2).filter(|pair| pair[0] == "as").map(|pair| pair[1].to_owned()).collect();
    let numbers = |word: &&str| !word.starts_with(|c: char| c.is_ascii_digit());
    (words.into_iter().filter(numbers).map(str::to_owned).collect(), made)
}

#[test]
fn every_field_that_a_query_names_exists_in_the_schema() {
    let schema: Value = serde_json::from_str(&read("docs/audit-event.schema.json")).unwrap();
    let mut known = BTreeSet::new();
    fields(&schema, &schema, "", &mut known);
    let queries = blocks(&read("docs/audit-events.md"), "text");
    assert!(queries.len() >= 8, "expected at least the eight queries, found {}", queries.len());
    assert!(known.contains("actor.user_id") && known.contains("error.code"), "{known:?}");

    for query in queries {
        let (names, made) = names(&query);
        for name in names.difference(&made) {
            let fine = WORDS.contains(&name.as_str()) || known.contains(name);
            assert!(fine, "{name} is no field of the schema, in the query:\n{query}");
        }
    }
}

#[test]
fn there_is_a_valid_example_of_each_type() {
    let examples: Vec<Value> = blocks(&read("docs/audit-events.md"), "json")
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();

    examples.iter().for_each(harness::audit_events::assert_valid);
    let types: BTreeSet<_> = examples.iter().map(|event| text(event, "event_type")).collect();
    let expected = flag_schedules::domain::audit_event::EventType::ALL.map(|event_type| event_type.as_str());
    assert_eq!(types, BTreeSet::from(expected));
}

/// Runs the one query in SQL, in PostgreSQL: Logs Insights quotes names in another way, and allows one level of subqueries.
#[tokio::test]
async fn a_change_that_is_in_no_event_shows_between_two_schedules() {
    let query = blocks(&read("docs/audit-events.md"), "sql").remove(0);
    assert_eq!(query.to_uppercase().matches("SELECT").count(), 2, "{query}");
    assert!(!query.contains("WINDOW"), "{query}");
    let database = harness::database::Database::migrated().await;
    let client = database.connect().await;
    client
        .batch_execute(
            r#"
            create temporary table "/flag-schedules/audit" (
                event_id text, event_type text default 'flag_schedule.applied', occurred_at text,
                environment text default 'production', flag_key text, schedule_id text,
                "schedule.scheduled_at" text default '1', "schedule.created_at" text default '1',
                "change.before.enabled" boolean, "change.after.enabled" boolean,
                "change.before.rollout_percentage" integer, "change.after.rollout_percentage" integer
            );
            insert into "/flag-schedules/audit" (event_id, occurred_at, flag_key, schedule_id, "change.before.enabled",
                "change.after.enabled", "change.before.rollout_percentage", "change.after.rollout_percentage")
            values
                ('1', '01', 'a', 's1', false, true, 0, 10),
                ('1', '01', 'a', 's1', false, true, 0, 10),
                ('2', '02', 'a', 's2', true, true, 10, 20),
                ('3', '03', 'a', 's3', true, true, 50, 60),
                ('4', '04', 'a', 's4', false, true, 60, 70),
                ('4', '04', 'a', 's4', false, true, 60, 70),
                ('5', '05', 'a', 's5', true, true, 70, 80),
                ('6', '01', 'b', 's6', true, false, 30, 30);
            insert into "/flag-schedules/audit" (event_id, event_type, occurred_at, flag_key, schedule_id)
            values ('7', 'flag_schedule.cancelled', '04', 'a', 's7');
            "#,
        )
        .await
        .unwrap();

    let found = client.query(&query.replace('`', "\""), &[]).await.unwrap();

    let found: Vec<String> = found.iter().map(|row| row.get("schedule_id")).collect();
    assert_eq!(found, ["s3", "s4"], "{query}");
}

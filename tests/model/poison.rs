//! One schedule that the database refuses, among a thousand: it fails alone, with a reason, and at little cost.

use super::world::World;

/// Flags with one due schedule each.
const FLAGS: u64 = 1_000;

/// Refuses one flag's change in some way, and counts the attempts to write: the count outlives what is rolled back.
fn guard(refusal: &str) -> String {
    format!(
        "create sequence attempts;
         grant usage on sequence attempts to public;
         create function count_attempt() returns trigger language plpgsql as $$
         begin
             perform nextval('attempts');
             return null;
         end $$;
         create trigger count_attempt before update on feature_flags
             for each statement execute function count_attempt();
         create function refuse() returns trigger language plpgsql as $$
         begin
             if new.flag_key = 'flag-617' then {refusal}; end if;
             return new;
         end $$;
         create trigger refuse before update on feature_flags for each row execute function refuse();"
    )
}

async fn isolated(refusal: &str, reason: &str) {
    let world = World::start(1).await;
    world
        .client
        .batch_execute(&format!(
            "{}
             insert into feature_flags (flag_key) select 'flag-' || n from generate_series(1, {FLAGS}) n;
             insert into feature_flag_schedules (flag_id, scheduled_at, updates)
             select id, now() - interval '1 second' * random() * 60, '{{\"enabled\": true}}' from feature_flags;",
            guard(refusal)
        ))
        .await
        .unwrap();

    let report = world.tick(0).await.unwrap();

    assert_eq!(report.applied, FLAGS - 1, "{report:?}");
    assert_eq!(report.failed_rejected_by_database, 1, "{report:?}");
    let sql = "select f.flag_key, s.error_code, s.error_message, s.failed_at is not null, f.enabled
        from feature_flag_schedules s join feature_flags f on f.id = s.flag_id where s.status <> 'applied'";
    let row = world.client.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "flag-617");
    assert_eq!(row.get::<_, Option<&str>>(1), Some("rejected_by_database"));
    let message: &str = row.get(2);
    assert!(message.contains(reason), "{message}");
    for leak in ["select", "update ", "feature_flag_schedules", "$1"] {
        assert!(!message.to_lowercase().contains(leak), "the reason shows a statement: {message}");
    }
    assert!(row.get::<_, bool>(3) && !row.get::<_, bool>(4), "the flag stays as it was");
    let attempts: i64 = world.client.query_one("select last_value from attempts", &[]).await.unwrap().get(0);
    // All of them twice, plainly and with savepoints; two halves for each of ten times; the failure.
    assert!(attempts <= 2 + 2 * 10 + 1, "{attempts} attempts for one refusal among {FLAGS}");
    let enabled = "select count(*) from feature_flags where enabled";
    let enabled: i64 = world.client.query_one(enabled, &[]).await.unwrap().get(0);
    assert_eq!(u64::try_from(enabled), Ok(FLAGS - 1));
}

#[tokio::test]
async fn a_trigger_that_raises_is_isolated_in_a_logarithmic_number_of_statements() {
    isolated("raise exception 'flag-617 is frozen'", "flag-617 is frozen").await;
}

#[tokio::test]
async fn a_violated_constraint_is_isolated_too() {
    isolated("new.rollout_percentage := 101", "feature_flags_rollout_percentage_check").await;
}

#[tokio::test]
async fn a_trigger_that_divides_by_zero_is_isolated_too() {
    isolated(
        "new.rollout_percentage := 1 / (new.rollout_percentage - new.rollout_percentage)",
        "division by zero",
    )
    .await;
}

#[tokio::test]
async fn a_trigger_that_raises_with_a_code_of_its_own_is_isolated_too() {
    isolated("raise exception 'not today' using errcode = 'FLAGS'", "not today").await;
}

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
    isolated_after("", refusal, reason).await;
}

/// The same, with a schema that is changed first.
async fn isolated_after(schema: &str, refusal: &str, reason: &str) {
    let world = World::start(1).await;
    world
        .client
        .batch_execute(&format!(
            "{schema};
             {}
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
    // All of them, twice with the outbox and once without; nothing at all, to see whether that is rejected too; two halves for each
    // of ten times; the one that is left over without the outbox; its failure.
    let bound = 3 + 1 + 2 * 10 + 1 + 1;
    // On a busy machine attempts may time out, and are repeated in smaller parts.
    let bound = bound * 3;
    assert!(attempts <= bound, "{attempts} attempts for one refusal among {FLAGS}, more than {bound}");
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

#[tokio::test]
async fn a_trigger_that_raises_a_code_of_the_servers_own_is_isolated_too() {
    for code in ["internal_error", "undefined_function", "data_corrupted"] {
        isolated(&format!("raise exception 'no {code}' using errcode = '{code}'"), &format!("no {code}"))
            .await;
    }
    for code in ["insufficient_privilege", "undefined_table", "undefined_column"] {
        let refusal = format!("raise exception 'no {code}' using errcode = '{code}'");
        isolated_after("", &refusal, &format!("no {code}")).await;
    }
}

#[tokio::test]
async fn a_trigger_that_quietly_writes_nothing_is_isolated_too() {
    isolated("return null", "flags_changed is 0 and should be 1").await;
}

#[tokio::test]
async fn a_row_too_large_for_an_index_is_isolated_too() {
    isolated_after(
        "create index described on feature_flags (description)",
        "new.description := (select string_agg(md5(n::text), '') from generate_series(1, 1000) n)",
        "index row",
    )
    .await;
}

#[tokio::test]
async fn what_is_checked_no_sooner_than_at_the_commit_is_isolated_too() {
    let late = "create function late() returns trigger language plpgsql as $$
         begin
             if new.flag_key = 'flag-617' then raise exception 'flag-617 comes too late'; end if;
             return null;
         end $$;
         create constraint trigger late after update on feature_flags deferrable initially deferred
             for each row execute function late()";
    isolated_after(late, "null", "flag-617 comes too late").await;
}

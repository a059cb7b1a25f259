//! Plans: what runs all the time must not read the whole history of schedules.

use harness::database::Database;
use tokio_postgres::Client;

use super::sql_files::statements;

/// Fifty thousand finished schedules and a thousand pending ones, half of them due, of a hundred flags; one flag has a
/// third of everything. Of audit events, twenty thousand dead ones and a hundred to deliver.
const HISTORY: &str = "
    insert into feature_flags (flag_key) select 'flag-' || n from generate_series(1, 100) n;
    insert into feature_flag_schedules
        (flag_id, scheduled_at, status, updates, created_at, created_by, applied_at, failed_at, cancelled_at)
    select f.id, s.at, s.status, '{\"enabled\": true}', s.at, 'anna',
        case s.status when 'applied' then s.at end, case s.status when 'failed' then s.at end,
        case s.status when 'cancelled' then s.at end
    from generate_series(1, 50000) n
    cross join lateral (
        select (array['applied', 'failed', 'cancelled'])[1 + n % 3] as status, now() - n * interval '7 minutes' as at
    ) s
    join feature_flags f on f.flag_key = 'flag-' || case when n % 3 = 0 then 1 else 1 + n % 100 end;
    insert into feature_flag_schedules (flag_id, scheduled_at, updates)
    select f.id, now() + (n - 500) * interval '1 minute', '{\"enabled\": true}'
    from generate_series(1, 1000) n
    join feature_flags f on f.flag_key = 'flag-' || case when n % 3 = 0 then 1 else 1 + n % 100 end;
    insert into audit_outbox (event_id, event_type, context, schedule, written_at, dead_at, dead_reason)
    select gen_random_uuid(), 'flag_schedule.applied', '{}', '{}', now() - n * interval '1 minute',
        case when n > 100 then now() end, case when n > 100 then 'refused twice' end
    from generate_series(1, 20100) n;
    analyze";

/// The index of what is pending.
const PENDING: &str = "feature_flag_schedules_due_idx";
/// Either index of a flag's schedules, with or without their status.
const OF_A_FLAG: &str = "feature_flag_schedules_flag_";
/// The primary key.
const BY_ID: &str = "feature_flag_schedules_pkey";
/// The index of what is to be delivered.
const UNDELIVERED: &str = "audit_outbox_undelivered_idx";
/// The indexes of transitions.
const CREATED: &str = "feature_flag_schedules_created_idx";
const ENDED: &str = "feature_flag_schedules_ended_idx";
/// The index of a status over all flags.
const OF_A_STATUS: &str = "feature_flag_schedules_status_idx";
/// Any index of the audit events.
const OF_AN_EVENT: &str = "audit_outbox_";
/// Statements that are prepared by name.
const NAMED: [&str; 4] = ["create_schedule", "cancel_schedule", "find_schedule", "list_schedules"];
/// How a plan says that it reads the table that grows from its first row to its last.
const WHOLE_TABLE: &str = "Seq Scan on feature_flag_schedules";

#[tokio::test]
async fn what_runs_all_the_time_does_not_read_the_whole_history() {
    let database = Database::migrated().await;
    let client = database.connect().await;
    run(&client, HISTORY).await;
    let due =
        "select id::text from feature_flag_schedules where status = 'pending' order by scheduled_at limit 1";
    let due = one(&client, due).await;
    let one_flag = one(&client, "select array[id]::text from feature_flags where flag_key = 'flag-1'").await;
    let all_flags = one(&client, "select array_agg(id)::text from feature_flags").await;
    let events = "select array_agg(event_id)::text from (
            select event_id from audit_outbox where dead_at is null limit 10
        ) o";
    let events = one(&client, events).await;
    // Ten flags with a due schedule each, as the processor writes them back.
    let outcomes = "select format(
            '%L::uuid[], %L::boolean[], %L::integer[], %L::uuid[], %L::tid[], %L::uuid[], %L::text[], %L::text[], %L::text[], %L::jsonb[]',
            array_agg(flag_id), array_agg(true), array_agg(1), array_agg(id), array_agg(place), array_agg(gen_random_uuid()),
            array_agg('applied'::text), array_agg(null::text), array_agg(null::text), array_agg('{}'::jsonb)
        ) from (
            select distinct on (flag_id) flag_id, id, ctid as place from feature_flag_schedules
            where status = 'pending' and scheduled_at <= now() order by flag_id limit 10
        ) s";
    let outcomes = one(&client, outcomes).await;
    let start = "null, null, null";
    let oldest = "timestamptz '-infinity', timestamptz '-infinity', '00000000-0000-0000-0000-000000000000'";
    let first = "null, null, 51";
    let later = "now() - interval '100 days', '00000000-0000-0000-0000-000000000000', 51";
    let cancel = format!("'flag-1', 'production', '{due}', 'anna', null");
    let day = "now() - interval '25 hours', '00000000-0000-0000-0000-000000000000', '', now(), 1000";
    let types = "array['flag_schedule.applied']";
    let event = r#"'019c9f69-1afa-7c3e-9d52-6b1f0e8a4c27', '{"actor": {"type": "admin"}}'"#;

    let mut faults = Vec::new();
    for (statement, index, values) in [
        ("claim_flags", PENDING, format!("({start}, 1000, array[]::uuid[], 1, 2)")),
        ("claim_flags", PENDING, format!("({oldest}, 1000, array[]::uuid[], 1, 2)")),
        ("count_due", PENDING, String::new()),
        ("read_due", OF_A_FLAG, format!("('{one_flag}', 100, 1000)")),
        ("read_due", OF_A_FLAG, format!("('{all_flags}', 100, 1000)")),
        ("list_schedules -status -after", OF_A_FLAG, format!("('flag-1', 'production', null, {first})")),
        ("list_schedules -after", OF_A_FLAG, format!("('flag-1', 'production', 'pending', {first})")),
        ("list_schedules -after", OF_A_FLAG, format!("('flag-1', 'production', 'applied', {first})")),
        ("list_schedules -status", OF_A_FLAG, format!("('flag-1', 'production', null, {later})")),
        ("list_schedules", OF_A_FLAG, format!("('flag-1', 'production', 'applied', {later})")),
        // One status is rare in its flag, the other one is not there at all.
        ("list_schedules -after", OF_A_FLAG, format!("('flag-1', 'production', 'failed', {first})")),
        ("list_schedules -after", OF_A_FLAG, format!("('flag-3', 'production', 'applied', {first})")),
        ("find_schedule", BY_ID, format!("('flag-1', 'production', '{due}')")),
        ("find_next_due", PENDING, String::new()),
        ("list_across_flags", OF_A_STATUS, format!("('production', 'pending', null, null, {first}, 5000)")),
        ("list_across_flags", OF_A_STATUS, format!("('production', 'applied', null, null, {later}, 5000)")),
        ("list_across_flags", OF_A_STATUS, format!("('staging', 'failed', null, null, {first}, 5000)")),
        (
            "list_across_flags",
            OF_A_STATUS,
            format!("('production', 'applied', now() - interval '90 days', now(), {first}, 5000)"),
        ),
        ("record_outcomes", "Tid Scan on feature_flag_schedules", format!("({outcomes}, '{{}}', false)")),
        (
            "hold_events",
            "Function Scan on flag_schedules_hold_events",
            format!("(30, 1000, {types}, {types}, '{{}}')"),
        ),
        ("delete_events", OF_AN_EVENT, format!("('{events}')")),
        ("delete_held_events", "Tid Scan on audit_outbox", "(array['(0,1)', '(0,2)']::tid[])".to_owned()),
        ("mark_events", OF_AN_EVENT, format!("('{events}', '{events}', array['r'])")),
        ("count_events", UNDELIVERED, String::new()),
        ("cancel_schedule", BY_ID, format!("({cancel}, {event}, false)")),
        // The verification: pages of a day, and rows by id.
        ("list_transitions", CREATED, format!("({day})")),
        ("list_transitions", ENDED, format!("({day})")),
        ("list_transitions", BY_ID, format!("({day})")),
        ("find_schedules", BY_ID, format!("(array['{due}']::uuid[])")),
        ("list_undelivered", OF_AN_EVENT, "(null, 1000)".to_owned()),
    ] {
        // A name, and blocks that the statement is sent without.
        let mut words = statement.split(" -");
        let name = words.next().unwrap_or_default();
        let sql = words.fold(statements()[name].clone(), |sql, block| without(&sql, block));
        // PostgreSQL plans unnamed statements for their values, and may use one plan for all values of named ones.
        let plans = if NAMED.contains(&name) { "generic" } else { "custom" };
        // Without a block, some parameters are used nowhere.
        let types = if name == "list_schedules" { "(text, text, text, timestamptz, uuid, int8)" } else { "" };
        let prepare = format!(
            "deallocate all; set plan_cache_mode = force_{plans}_plan; prepare {name}{types} as {sql}"
        );
        run(&client, &prepare).await;
        let plan = explain(&client, &format!("execute {name}{values}")).await;
        if plan.contains(WHOLE_TABLE) {
            faults.push(format!("{statement}{values} reads all of feature_flag_schedules:\n{plan}"));
        } else if !plan.contains(index) {
            faults.push(format!("{statement}{values} does not use {index}…:\n{plan}"));
        }
    }

    assert!(faults.is_empty(), "\n{}\n", faults.join("\n\n"));
    // Such a plan is recognised where there is one.
    let all = explain(&client, "select count(reason) from feature_flag_schedules").await;
    assert!(all.contains(WHOLE_TABLE), "{all}");
}

/// What a tick leaves to the next one: an outbox that the statistics know as something else.
#[tokio::test]
async fn deliveries_probe_the_outbox_by_id_whatever_the_statistics_say() {
    let database = Database::migrated().await;
    let client = database.connect().await;
    run(&client, "set plan_cache_mode = force_custom_plan").await;
    let types = "array['flag_schedule.applied']";
    let fill = |count: u32| {
        format!(
            "insert into audit_outbox (event_id, event_type, context, schedule)
             select gen_random_uuid(), 'flag_schedule.applied', jsonb_build_object('a', repeat('x', 300)), '{{}}'
             from generate_series(1, {count})"
        )
    };
    for statistics in [
        // None, and later those of now, of an empty table, of a smaller one, and of one in which all are dead.
        String::new(),
        "analyze audit_outbox".to_owned(),
        "truncate audit_outbox; analyze audit_outbox".to_owned(),
        format!("truncate audit_outbox; {}; analyze audit_outbox; delete from audit_outbox", fill(1_000)),
        format!(
            "truncate audit_outbox; {}; update audit_outbox set dead_at = now(); analyze audit_outbox;
             delete from audit_outbox",
            fill(1_000)
        ),
    ] {
        run(&client, &statistics).await;
        run(&client, &fill(10_000)).await;
        let events = "select array_agg(event_id)::text from (select event_id from audit_outbox limit 1000) o";
        let events = one(&client, events).await;
        for (statement, values) in [
            ("delete_events", format!("('{events}')")),
            ("mark_events", format!("('{events}', '{events}', array['r'])")),
        ] {
            let sql = &statements()[statement];
            run(&client, &format!("deallocate all; prepare {statement} as {sql}")).await;
            let plan = explain(&client, &format!("execute {statement}{values}")).await;

            assert!(plan.contains("audit_outbox_pkey"), "{statement} after {statistics:?}:\n{plan}");
            for other in ["Seq Scan on audit_outbox", "audit_outbox_undelivered_idx", "audit_outbox_dead_idx"]
            {
                assert!(!plan.contains(other), "{statement} after {statistics:?}:\n{plan}");
            }
        }
        // Which events are the oldest is up to a function, whose plan shows only in what it has read.
        let sql = &statements()["hold_events"];
        run(&client, &format!("deallocate all; prepare hold_events as {sql}; begin")).await;
        let (rows, scans) = read_of_outbox(&client).await;
        run(&client, &format!("execute hold_events(30, 100, {types}, {types}, '{{}}')")).await;
        let (rows_after, scans_after) = read_of_outbox(&client).await;
        run(&client, "rollback").await;
        let read = (rows_after - rows, scans_after - scans);
        assert_eq!(read, (100, 0), "rows read and scans, to hold a hundred events after {statistics:?}");
    }
}

#[tokio::test]
async fn a_batch_probes_large_tables() {
    let database = Database::migrated().await;
    let client = database.connect().await;
    let fill = "insert into feature_flags (flag_key) select 'flag-' || n from generate_series(1, 50000) n;
        insert into feature_flag_schedules (flag_id, scheduled_at, updates)
        select id, now() - interval '1 minute', '{\"enabled\": true}' from feature_flags;
        analyze";
    run(&client, fill).await;
    let a_batch = |column: &str| {
        format!(
            "select array_agg({column} order by id)::text from (
                select id, flag_id, ctid as place from feature_flag_schedules order by id limit 100
            ) s"
        )
    };
    let (flags, schedules) = (one(&client, &a_batch("flag_id")).await, one(&client, &a_batch("id")).await);
    let places = one(&client, &a_batch("place")).await;
    let of_all = |value: &str| format!("array_fill({value}, array[100])");
    let outcomes = [
        format!("'{flags}', {}, {}, '{schedules}', '{places}'", of_all("true"), of_all("1")),
        of_all("gen_random_uuid()"),
        of_all("'applied'::text"),
        of_all("null::text"),
        of_all("null::text"),
        of_all("'{}'::jsonb"),
    ];

    for (statement, values) in [
        ("claim_flags", "(null, null, null, 1000, array[]::uuid[], 1, 2)".to_owned()),
        ("read_due", format!("('{flags}', 100, 1000)")),
        ("record_outcomes", format!("({}, '{{}}', false)", outcomes.join(", "))),
    ] {
        let sql = &statements()[statement];
        let plans = if NAMED.contains(&statement) { "generic" } else { "custom" };
        let prepare =
            format!("deallocate all; set plan_cache_mode = force_{plans}_plan; prepare {statement} as {sql}");
        run(&client, &prepare).await;
        let plan = explain(&client, &format!("execute {statement}{values}")).await;

        assert!(
            !plan.contains("Seq Scan on feature_flag"),
            "{statement} reads a table from end to end:\n{plan}"
        );
    }
}

/// A connection that has planned its statements for small tables, and keeps these plans after a bulk load.
#[tokio::test]
async fn statements_prepared_before_a_bulk_load_read_no_table_from_end_to_end_after_it() {
    let database = Database::migrated().await;
    let client = database.connect().await;
    let few = "set plan_cache_mode = force_generic_plan;
        insert into feature_flags (flag_key) values ('first');
        insert into feature_flag_schedules (flag_id, scheduled_at, updates, created_by, idempotency_key)
        select id, now(), '{}', 'anna', 'key-' || n from feature_flags, generate_series(1, 10) n";
    run(&client, few).await;
    let id = "'019c9f69-1afa-7c3e-9d52-6b1f0e8a4c27'";
    let flag = "'flag-1', 'production'";
    let calls = [
        ("find_schedule", format!("({flag}, {id})")),
        ("list_schedules", format!("({flag}, 'pending', now(), {id}, 51)")),
        ("cancel_schedule", format!("({flag}, {id}, 'anna', null, {id}, '{{}}', false)")),
        // A retry, when its time is past.
        (
            "create_schedule",
            format!("({flag}, {id}, now(), null, '{{}}', null, null, 'anna', 'key', {id}, '{{}}', true)"),
        ),
    ];
    let prepared = calls.each_ref().map(|(name, _)| *name);
    assert!(NAMED.iter().all(|name| prepared.contains(name)), "{NAMED:?} are named");
    for (name, values) in &calls {
        run(&client, &format!("prepare {name} as {}", statements()[*name])).await;
        explain(&client, &format!("execute {name}{values}")).await;
    }
    run(&client, HISTORY.trim_end_matches("analyze")).await;

    for (name, values) in &calls {
        let plan = explain(&client, &format!("execute {name}{values}")).await;
        assert!(!plan.contains("Seq Scan on feature_flag"), "{name} reads a table from end to end:\n{plan}");
    }
}

/// The statement without its lines between `-- block:` and `-- :block`.
fn without(sql: &str, block: &str) -> String {
    let (begin, end) = (format!("-- {block}:"), format!("-- :{block}"));
    let (before, rest) = sql.split_once(&begin).expect("there is such a block");
    let (_, after) = rest.split_once(&end).expect("a block ends");
    format!("{before}{after}")
}

/// How many rows of the outbox this session has read by an index, and how often all of them.
async fn read_of_outbox(client: &Client) -> (i64, i64) {
    let sql = "select idx_tup_fetch, seq_scan from pg_stat_xact_user_tables where relname = 'audit_outbox'";
    let row = client.query_one(sql, &[]).await.expect("the statistics");
    (row.get(0), row.get(1))
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn one(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// The plan as text.
async fn explain(client: &Client, call: &str) -> String {
    let sql = format!("explain {call}");
    let rows = client.query(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
}

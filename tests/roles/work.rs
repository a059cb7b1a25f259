//! What has to work: a first deployment and an adopted database, and everything that the functions do, each as its role.

use harness::api::Api;
use harness::database::Database;
use serde_json::json;

use super::{API, MIGRATE, PROCESSOR, READER, connect_as, deployed, migrate, run_file, service};
use crate::support::{A_MOMENT, in_seconds, of_type, only, text, turn_on, with_updates};

/// Does everything that the functions do: create with a key and again, list, cancel, apply, fail, sweep.
pub async fn do_all(api: &Api) {
    let token = api.admin();
    let request =
        harness::api::create_request("a", "", &turn_on()).bearer(&token).header("idempotency-key", "k");
    let created = api.send(&request).await;
    let replayed = api.send(&request).await;
    let second = api.create(&token, "a", "", &with_updates(&json!({"rollout_percentage": 30}))).await;
    let bad = api.create(&token, "a", "", &turn_on()).await;
    let unwanted = api.create(&token, "a", "", &turn_on()).await;
    let listed = api.list(&token, "a", "").await;
    let cancelled = api.cancel(&token, "a", text(&unwanted.json, "id"), "").await;
    let again = api.cancel(&token, "a", text(&unwanted.json, "id"), "").await;

    assert_eq!((created.status, replayed.status), (201, 200), "{created:?} {replayed:?}");
    assert_eq!((second.status, bad.status, unwanted.status), (201, 201, 201));
    assert_eq!(listed.json["schedules"].as_array().map(Vec::len), Some(4), "{listed:?}");
    assert_eq!((cancelled.status, again.status), (200, 409), "{cancelled:?} {again:?}");

    api.settle().await;
    for schedule in [&created, &second, &bad] {
        api.make_due(text(&schedule.json, "id"), A_MOMENT).await;
    }
    let sabotage = format!(
        "update feature_flag_schedules set updates = '{{\"enabled\": 7}}' where id = '{}'",
        text(&bad.json, "id")
    );
    api.database.connect().await.batch_execute(&sabotage).await.unwrap();
    let report = api.tick().await.value();

    assert_eq!((&report["applied"], &report["failed_invalid_updates"]), (&json!(2), &json!(1)), "{report:#}");
    assert_eq!(api.flag_state("a", "production").await, (true, 30));
    let events = api.events().await;
    for (event_type, count) in [("created", 4), ("cancelled", 1), ("applied", 2), ("failed", 1)] {
        let found = of_type(&events, &format!("flag_schedule.{event_type}")).len();
        assert_eq!(found, count, "{event_type}: {events:#?}");
    }
    assert_eq!(outbox(api).await, 0, "what is delivered is deleted");
}

/// Rows of the outbox.
async fn outbox(api: &Api) -> i64 {
    api.database.connect().await.query_one("select count(*) from audit_outbox", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn on_an_empty_database_every_function_works_as_its_role() {
    let api = service(deployed().await).await;
    api.flag("a", "production").await;

    do_all(&api).await;

    let verified = api.function("verify-trail").await.invoke(&json!({"to": in_seconds(0)})).await.value();
    // What this test altered itself is found, too: the times that it made due, and the updates that it broke.
    assert_eq!((&verified["missing"], &verified["unknown"]), (&json!([]), &json!([])), "{verified:#}");

    let again = api.function("migrate").await.invoke(&json!({})).await.value();
    assert_eq!(again["applied"], json!([]));
}

/// Tables that another tool has made, without all that this service adds.
pub const ADOPTED: &str = "
    create table feature_flags (
        id uuid primary key default gen_random_uuid(), flag_key text not null, secret_note text default 'none of yours',
        enabled boolean not null default false, rollout_percentage integer not null default 0, description text,
        environment text not null default 'production', created_at timestamp not null default now(),
        updated_at timestamp not null default now(), unique (flag_key, environment)
    );
    create table feature_flag_schedules (
        id uuid primary key default gen_random_uuid(), flag_id uuid not null references feature_flags on delete cascade,
        scheduled_at timestamptz not null, status text not null default 'pending', updates jsonb not null,
        retry_count integer not null default 0, error_message text default '', applied_at timestamptz(0),
        failed_at timestamptz(0), cancelled_at timestamptz(0), cancelled_by varchar(300) default '',
        created_at timestamptz not null default now(), updated_at timestamptz not null default now()
    )";

#[tokio::test]
async fn on_tables_of_another_owner_it_works_once_that_owner_has_let_migrate_in() {
    let database = Database::empty().await;
    let superuser = database.connect_as_superuser().await;
    let owner = format!("owner_of_{}", database.name());
    let tables = format!(
        "create role {owner}; grant usage, create on schema public to {owner};
         set role {owner}; {ADOPTED}; reset role"
    );
    superuser.batch_execute(&tables).await.unwrap();
    run_file(&superuser).await;

    let refused = migrate(&database).await.error();
    superuser.batch_execute(&format!("grant {owner} to {MIGRATE}")).await.unwrap();
    migrate(&database).await.value();
    let api = service(database).await;
    api.flag("a", "production").await;
    do_all(&api).await;

    assert!(refused.message.contains("must be owner of table feature_flags"), "{refused}");
    let theirs = "select count(*) from pg_class where relowner = $1::text::regrole and relkind = 'r'";
    let tables: i64 = superuser.query_one(theirs, &[&owner]).await.unwrap().get(0);
    assert_eq!(tables, 2, "their tables stay theirs");
    for role in [API, PROCESSOR, READER] {
        let client = connect_as(&api.database, role).await;
        let refused = client.batch_execute("select secret_note from feature_flags").await.unwrap_err();
        assert_eq!(refused.code().map(|code| code.code()), Some("42501"), "{role}: {refused:?}");
    }
    let gone = format!("drop owned by {owner} cascade; drop role {owner}");
    superuser.batch_execute(&gone).await.unwrap();
}

#[tokio::test]
async fn an_event_that_can_never_be_delivered_is_marked_dead_and_kept() {
    let api = service(deployed().await).await;
    let superuser = api.database.connect_as_superuser().await;
    let unreadable = "insert into audit_outbox (event_id, event_type, context, schedule, written_at)
        values (gen_random_uuid(), 'flag_schedule.created', '{}', '{}', now() - interval '1 minute')";
    superuser.batch_execute(unreadable).await.unwrap();

    api.tick().await.value();

    let sql = "select dead_at is not null, dead_reason from audit_outbox";
    let row = superuser.query_one(sql, &[]).await.unwrap();
    assert!(row.get::<_, bool>(0), "{row:?}");
    assert!(row.get::<_, &str>(1).contains("missing field"), "{row:?}");
    // The API's functions have the same rights, for what they have written themselves.
    let client = connect_as(&api.database, API).await;
    let mark = "update audit_outbox set refused_at = now(), dead_at = now(), dead_reason = 'a test'";
    assert_eq!(client.execute(mark, &[]).await.unwrap(), 0);
    superuser.execute("update audit_outbox set written_by = $1", &[&API]).await.unwrap();
    assert_eq!(client.execute(mark, &[]).await.unwrap(), 1);
    assert_eq!(client.execute("delete from audit_outbox", &[]).await.unwrap(), 1);
}

#[tokio::test]
async fn without_a_right_on_the_outbox_the_work_goes_on_and_no_event_is_lost() {
    let api = service(deployed().await).await;
    api.flag("a", "production").await;
    let before = api.create(&api.admin(), "a", "", &turn_on()).await;
    api.settle().await;
    let superuser = api.database.connect_as_superuser().await;
    superuser.batch_execute(&format!("revoke all on audit_outbox from {API}, {PROCESSOR}")).await.unwrap();

    let during = api.create(&api.admin(), "a", "", &turn_on()).await;
    let cancelled = api.cancel(&api.admin(), "a", text(&before.json, "id"), "").await;
    api.make_due(text(&during.json, "id"), A_MOMENT).await;
    let report = api.tick().await.value();

    assert_eq!((during.status, cancelled.status), (201, 200), "{during:?} {cancelled:?}");
    assert_eq!(report["applied"], 1, "{report:#}");
    let events = api.events().await;
    assert_eq!(of_type(&events, "flag_schedule.created").len(), 2, "{events:#?}");
    only(&events, "flag_schedule.cancelled");
    only(&events, "flag_schedule.applied");

    // What the deployment before had is given again by the next one.
    migrate(&api.database).await.value();
    let after = api.create(&api.admin(), "a", "", &turn_on()).await;
    assert_eq!(after.status, 201, "{after:?}");
    api.settle().await;
    assert_eq!(api.events().await.len(), 5);
}

#[tokio::test]
async fn a_database_without_the_file_s_mark_keeps_its_own_ways() {
    let database = Database::migrated().await;

    let sql = "select count(*) from pg_class, aclexplode(relacl) a
        where relnamespace = 'public'::regnamespace and a.grantee in ($1::text::regrole, $2::text::regrole)";
    let grants: i64 =
        database.connect_as_superuser().await.query_one(sql, &[&API, &PROCESSOR]).await.unwrap().get(0);

    assert_eq!(grants, 0);
}

#[tokio::test]
async fn the_limits_of_the_roles_are_in_force_and_nest() {
    let database = deployed().await;
    let service_limit = flag_schedules::adapters::postgres::retry::STATEMENT_LIMIT.as_millis();
    // Milliseconds: a lock's, a statement's, an idle transaction's.
    for (role, expected) in [
        (API, [2_000, 4_000, 10_000]),
        (PROCESSOR, [2_000, 5_000, 10_000]),
        (READER, [2_000, 4_000, 10_000]),
        (MIGRATE, [1_000, 50_000, 60_000]),
    ] {
        let client = connect_as(&database, role).await;
        let mut limits = Vec::new();
        for name in ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"] {
            let sql = "select setting::int from pg_settings where name = $1";
            limits.push(client.query_one(sql, &[&name]).await.unwrap().get::<_, i32>(0));
        }

        assert_eq!(limits, expected, "{role}");
        assert!(limits[0] < limits[1], "{role} waits for a lock for less time than a statement may take");
        assert!(
            ![API, READER].contains(&role) || u128::try_from(limits[1]).unwrap() < service_limit,
            "{role}: {limits:?}"
        );
    }
}

//! What somebody may try who has taken over a function: with its role, history cannot be rewritten and no event forged. Each
//! statement is tried with every role, outside a transaction; afterwards the database is as it was.

use std::collections::BTreeSet;

use harness::database::Database;
use serde_json::json;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{API, PROCESSOR, READER, connect_as, deployed, service};
use crate::migrations::schema;
use crate::support::{A_MOMENT, of_type, text, turn_on};

/// A flag with schedules of every status, and undelivered events: one of the API, one of the processor, one from before
/// `written_by`.
const ROWS: &str = r#"
    insert into feature_flags (id, flag_key) values ('f0000000-0000-4000-8000-000000000000', 'a');
    insert into feature_flag_schedules (id, flag_id, scheduled_at, status, updates, created_by, idempotency_key, applied_at,
        failed_at, error_code, error_message, cancelled_at, cancelled_by)
    select s.id::uuid, f.id, now() + s.due::interval, s.status, '{"enabled": true}', 'alice', s.key, s.applied, s.failed,
        s.code, s.code, s.cancelled, s.canceller
    from feature_flags f, (values
        ('10000000-0000-4000-8000-000000000001', '1 day', 'pending', 'key', null::timestamptz, null::timestamptz, null, null::timestamptz, null),
        ('10000000-0000-4000-8000-000000000002', '-1 day', 'pending', null, null, null, null, null, null),
        ('10000000-0000-4000-8000-000000000003', '-1 day', 'applied', null, now() - interval '1 day', null, null, null, null),
        ('10000000-0000-4000-8000-000000000004', '-1 day', 'failed', null, null, now() - interval '1 day', 'expired', null, null),
        ('10000000-0000-4000-8000-000000000005', '1 day', 'cancelled', null, null, null, null, now() - interval '1 day', 'bob'),
        ('10000000-0000-4000-8000-000000000006', '-1 day', 'paused', null, null, null, null, null, null)
    ) as s (id, due, status, key, applied, failed, code, cancelled, canceller);
    insert into audit_outbox (event_id, event_type, context, schedule, written_by)
    select ('e0000000-0000-4000-8000-00000000000' || e.n)::uuid, e.type, '{}', '{}', e.writer
    from (values (1, 'flag_schedule.created', 'flag_schedules_api'), (2, 'flag_schedule.applied', 'flag_schedules_processor'),
        (3, 'flag_schedule.created', null)) as e (n, type, writer)"#;

/// In these: `PENDING` is a schedule that is not due, `DUE` one that is, then one of each end, and `PAUSED` of another tool.
const IDS: [(&str, &str); 6] = [
    ("PENDING", "'10000000-0000-4000-8000-000000000001'"),
    ("DUE", "'10000000-0000-4000-8000-000000000002'"),
    ("APPLIED", "'10000000-0000-4000-8000-000000000003'"),
    ("FAILED", "'10000000-0000-4000-8000-000000000004'"),
    ("CANCELLED", "'10000000-0000-4000-8000-000000000005'"),
    ("PAUSED", "'10000000-0000-4000-8000-000000000006'"),
];

/// Nobody may do any of this, whatever the role.
const MISUSE: &[&str] = &[
    // A change is applied once.
    "update feature_flag_schedules set status = 'pending' where id = APPLIED",
    "update feature_flag_schedules set status = 'pending', applied_at = null where id = APPLIED",
    "update feature_flag_schedules set status = 'pending', failed_at = null, error_code = null where id = FAILED",
    "update feature_flag_schedules set status = 'pending', cancelled_at = null, cancelled_by = null where id = CANCELLED",
    "update feature_flag_schedules set status = 'pending' where id = PAUSED",
    // There is one end.
    "update feature_flag_schedules set status = 'cancelled', cancelled_at = now(), cancelled_by = 'eve' where id = APPLIED",
    "update feature_flag_schedules set status = 'cancelled', cancelled_at = now(), cancelled_by = 'eve' where id = FAILED",
    "update feature_flag_schedules set cancelled_at = now(), cancelled_by = 'eve' where id = CANCELLED",
    "update feature_flag_schedules set cancel_reason = 'mine' where id = CANCELLED",
    "update feature_flag_schedules set applied_at = now() where id = APPLIED",
    "update feature_flag_schedules set status = 'failed', failed_at = now(), error_code = 'expired' where id = APPLIED",
    "update feature_flag_schedules set status = 'applied', applied_at = now() where id = CANCELLED",
    "update feature_flag_schedules set status = 'applied', applied_at = now() where id = PAUSED",
    "update feature_flag_schedules set error_code = 'mine', error_message = 'mine' where id = FAILED",
    "update feature_flag_schedules set status = null where id = FAILED",
    "update feature_flag_schedules set status = 'paused' where id = DUE",
    // An end is now, complete, and consistent.
    "update feature_flag_schedules set status = 'cancelled' where id = PENDING",
    "update feature_flag_schedules set status = 'cancelled', cancelled_at = now() where id = PENDING",
    "update feature_flag_schedules set status = 'cancelled', cancelled_at = now() - interval '1 hour', cancelled_by = 'eve' where id = PENDING",
    "update feature_flag_schedules set status = 'cancelled', cancelled_at = 'infinity', cancelled_by = 'eve' where id = PENDING",
    "update feature_flag_schedules set cancelled_at = now(), cancelled_by = 'eve' where id = PENDING",
    "update feature_flag_schedules set status = 'applied' where id = DUE",
    "update feature_flag_schedules set status = 'applied', applied_at = now() - interval '1 hour' where id = DUE",
    "update feature_flag_schedules set status = 'applied', applied_at = now(), error_code = 'expired' where id = DUE",
    "update feature_flag_schedules set status = 'applied', applied_at = now(), failed_at = now() where id = DUE",
    "update feature_flag_schedules set status = 'failed', failed_at = now() where id = DUE",
    "update feature_flag_schedules set applied_at = now() where id = DUE",
    "update feature_flag_schedules set error_code = 'mine' where id = DUE",
    // Not before it is due.
    "update feature_flag_schedules set status = 'applied', applied_at = now() where id = PENDING",
    "update feature_flag_schedules set status = 'failed', failed_at = now(), error_code = 'expired' where id = PENDING",
    // What was requested.
    "update feature_flag_schedules set updates = '{\"enabled\": false}' where id = PENDING",
    "update feature_flag_schedules set scheduled_at = now() where id = PENDING",
    "update feature_flag_schedules set apply_by = now() where id = PENDING",
    "update feature_flag_schedules set expect = '{\"enabled\": true}' where id = PENDING",
    "update feature_flag_schedules set reason = 'mine' where id = PENDING",
    "update feature_flag_schedules set created_by = 'eve' where id = PENDING",
    "update feature_flag_schedules set created_at = now() where id = PENDING",
    "update feature_flag_schedules set idempotency_key = 'mine' where id = PENDING",
    "update feature_flag_schedules set id = gen_random_uuid() where id = PENDING",
    "update feature_flag_schedules set id = case id when PENDING then DUE::uuid else PENDING::uuid end where id in (PENDING, DUE)",
    "delete from feature_flag_schedules where id = PENDING",
    // A new schedule is pending.
    "insert into feature_flag_schedules (flag_id, scheduled_at, updates, status) select id, now(), '{}', 'applied' from feature_flags",
    "insert into feature_flag_schedules (flag_id, scheduled_at, updates, created_at) select id, now(), '{}', now() - interval '1 day' from feature_flags",
    // Somebody creates it, for a time that can be chosen.
    "insert into feature_flag_schedules (id, flag_id, scheduled_at, updates)
        select gen_random_uuid(), id, now() + interval '1 day', '{}' from feature_flags",
    "insert into feature_flag_schedules (id, flag_id, scheduled_at, updates, created_by)
        select gen_random_uuid(), id, now() + interval '1 day', '{}', '' from feature_flags",
    "insert into feature_flag_schedules (id, flag_id, scheduled_at, updates, created_by)
        select gen_random_uuid(), id, now() - interval '1 year', '{}', 'alice' from feature_flags",
    "insert into feature_flag_schedules (id, flag_id, scheduled_at, updates, created_by)
        select gen_random_uuid(), id, now() + interval '367 days', '{}', 'alice' from feature_flags",
    "insert into feature_flag_schedules (id, flag_id, scheduled_at, updates, created_by)
        select gen_random_uuid(), id, 'infinity', '{}', 'alice' from feature_flags",
    "insert into feature_flag_schedules (id, flag_id, scheduled_at, updates, created_by, idempotency_key)
        select gen_random_uuid(), id, now() + interval '1 day', '{}', 'alice', 'key' from feature_flags
        on conflict (flag_id, created_by, idempotency_key) where idempotency_key is not null do update set status = 'cancelled'",
    // Forged events: about what did not happen, by somebody else, of another kind, about no schedule.
    "insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.cancelled', '{\"actor\": {\"type\": \"admin\", \"user_id\": \"bob\"}}',
            flag_schedule_document(s, 'a', 'production') from feature_flag_schedules s where id = CANCELLED",
    "insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.created', '{\"actor\": {\"type\": \"admin\", \"user_id\": \"alice\"}}',
            flag_schedule_document(s, 'a', 'production') from feature_flag_schedules s where id = PENDING",
    "insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.applied', '{\"actor\": {\"type\": \"system\", \"name\": \"schedule-processor\"}}',
            flag_schedule_document(s, 'a', 'production') from feature_flag_schedules s where id = APPLIED",
    "insert into audit_outbox (event_id, event_type, context, schedule)
        values (gen_random_uuid(), 'flag_schedule.created', '{\"actor\": {\"type\": \"admin\", \"user_id\": \"alice\"}}', '{}')",
    "insert into audit_outbox (event_id, event_type, context, schedule) values (gen_random_uuid(), 'flag_schedule.cancelled',
        '{\"actor\": {\"type\": \"admin\", \"user_id\": \"bob\"}}', '{\"id\": \"20000000-0000-4000-8000-000000000000\", \"status\": \"cancelled\"}')",
    "insert into audit_outbox (event_id, event_type, context, schedule)
        values (gen_random_uuid(), 'flag_schedule.approved', '{\"actor\": {\"type\": \"admin\", \"user_id\": \"alice\"}}', '{}')",
    // A row that is touched is no transition, and an event is the row that its transaction has written.
    "update feature_flag_schedules set updated_at = now() where id = CANCELLED;
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.cancelled', '{\"actor\": {\"type\": \"admin\", \"user_id\": \"bob\"}}',
            flag_schedule_document(s, 'a', 'production')
        from feature_flag_schedules s where id = CANCELLED",
    "update feature_flag_schedules set updated_at = now() where id = APPLIED;
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.applied', '{\"actor\": {\"type\": \"system\", \"name\": \"schedule-processor\"}}',
            flag_schedule_document(s, 'a', 'production')
        from feature_flag_schedules s where id = APPLIED",
    "update feature_flag_schedules set status = 'cancelled', cancelled_at = now(), cancelled_by = 'eve' where id = PENDING;
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.cancelled', '{\"actor\": {\"type\": \"admin\", \"user_id\": \"eve\"}}',
            flag_schedule_document(s, 'a', 'production') || '{\"cancel_reason\": \"forged\"}'
        from feature_flag_schedules s where id = PENDING",
    "with c as (update feature_flag_schedules s set status = 'cancelled', cancelled_at = now(), cancelled_by = 'eve' where id = PENDING returning flag_schedule_document(s, 'a', 'production') as document)
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.cancelled', '{\"actor\": {\"type\": \"admin\", \"user_id\": \"bob\"}}',
            c.document from c",
    "with c as (update feature_flag_schedules s set status = 'cancelled', cancelled_at = now(), cancelled_by = 'eve' where id = PENDING returning flag_schedule_document(s, 'a', 'production') as document)
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.cancelled', '{\"actor\": {\"type\": \"admin\", \"user_id\": \"eve\"}}',
            c.document || '{\"flag_key\": \"b\", \"environment\": \"production\"}' from c",
    "with c as (update feature_flag_schedules s set status = 'cancelled', cancelled_at = now(), cancelled_by = 'eve' where id = PENDING returning flag_schedule_document(s, 'a', 'production') as document)
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.cancelled', '{\"actor\": {\"type\": \"system\", \"name\": \"schedule-processor\"}}',
            c.document from c",
    "with c as (update feature_flag_schedules s set status = 'applied', applied_at = now() where id = DUE returning flag_schedule_document(s, 'a', 'production') as document)
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.failed', '{\"actor\": {\"type\": \"system\", \"name\": \"schedule-processor\"}}',
            c.document from c",
    "with c as (update feature_flag_schedules s set status = 'applied', applied_at = now() where id = DUE returning flag_schedule_document(s, 'a', 'production') as document)
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.applied', '{\"actor\": {\"type\": \"system\", \"name\": \"schedule-processor\"}}',
            c.document || '{\"created_by\": \"bob\"}' from c",
    "with c as (update feature_flag_schedules s set status = 'applied', applied_at = now() where id = DUE returning flag_schedule_document(s, 'a', 'production') as document)
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.applied', '{\"actor\": {\"type\": \"admin\", \"user_id\": \"alice\"}}', c.document from c",
    "with c as (insert into feature_flag_schedules as s (id, flag_id, scheduled_at, updates, created_by)
            select gen_random_uuid(), id, now() + interval '1 day', '{}', 'alice' from feature_flags
            returning flag_schedule_document(s, 'a', 'production') as document)
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.created', '{\"actor\": {\"type\": \"admin\", \"user_id\": \"bob\"}}',
            c.document from c",
    "with c as (insert into feature_flag_schedules as s (id, flag_id, scheduled_at, updates, created_by)
            select gen_random_uuid(), id, now() + interval '1 day', '{}', 'alice' from feature_flags
            returning flag_schedule_document(s, 'a', 'production') as document)
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.created', '{\"actor\": {\"type\": \"admin\", \"user_id\": \"alice\"}}',
            c.document || '{\"updates\": {\"enabled\": false}}' from c",
    // More than a request can say.
    "with c as (update feature_flag_schedules s set status = 'cancelled', cancelled_at = now(), cancelled_by = 'eve' where id = PENDING returning flag_schedule_document(s, 'a', 'production') as document)
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.cancelled',
            jsonb_build_object('actor', '{\"type\": \"admin\", \"user_id\": \"eve\"}'::jsonb, 'x', repeat('y', 40000)), c.document from c",
    "with c as (update feature_flag_schedules s set status = 'applied', applied_at = now() where id = DUE returning flag_schedule_document(s, 'a', 'production') as document)
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.applied',
            '{\"actor\": {\"type\": \"system\", \"name\": \"schedule-processor\"}}'::jsonb || jsonb_build_object('x', repeat('y', 40000)), c.document from c",
    "with c as (update feature_flag_schedules s set status = 'applied', applied_at = now() where id = DUE returning flag_schedule_document(s, 'a', 'production') as document)
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.applied', '{\"actor\": {\"type\": \"system\", \"name\": \"schedule-processor\"}}',
            c.document || jsonb_build_object('x', repeat('y', 80000)) from c",
    // With tables of its own that look like the service's.
    "create temp table feature_flag_schedules (like public.feature_flag_schedules);
        create temp table feature_flags (like public.feature_flags);
        insert into pg_temp.feature_flag_schedules select * from public.feature_flag_schedules where id = CANCELLED;
        set search_path = pg_temp, public;
        insert into public.audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.cancelled', '{\"actor\": {\"type\": \"admin\", \"user_id\": \"bob\"}}',
            to_jsonb(s) || '{\"flag_key\": \"a\", \"environment\": \"production\"}' from pg_temp.feature_flag_schedules s",
    // Somebody else's name as the writer.
    "insert into audit_outbox (event_id, event_type, context, schedule, written_by) values (gen_random_uuid(), '', '{}', '{}', 'bob')",
    "update audit_outbox set written_by = current_user",
    // What an event says, and when.
    "update audit_outbox set context = '{\"actor\": {\"type\": \"admin\", \"user_id\": \"bob\"}}'",
    "update audit_outbox set schedule = '{}'",
    "update audit_outbox set event_type = 'flag_schedule.failed'",
    "update audit_outbox set written_at = now() + interval '1 year'",
    "update audit_outbox set event_id = gen_random_uuid()",
    "truncate audit_outbox",
    "truncate feature_flag_schedules cascade",
    "copy audit_outbox (event_id, event_type, context, schedule) from stdin",
    "copy feature_flag_schedules from program 'true'",
    "copy feature_flag_schedules to '/tmp/mine'",
    // The guards themselves.
    "alter table feature_flag_schedules disable trigger all",
    "alter table feature_flag_schedules disable trigger flag_schedules_guard_update",
    "drop trigger flag_schedules_guard_update on feature_flag_schedules",
    "alter table audit_outbox disable row level security",
    "alter table audit_outbox alter written_by set default 'bob'",
    "create policy mine on audit_outbox using (true)",
    "drop policy api_writes on audit_outbox",
    "create trigger mine before insert on audit_outbox for each row execute function flag_schedules_refuse()",
    "alter function flag_schedules_refuse() set search_path = mine",
    "create or replace function flag_schedules_is_guarded(guarded oid) returns boolean language sql as 'select false'",
    "create rule mine as on insert to audit_outbox do instead nothing",
    "set session_replication_role = replica",
    "set role flag_schedules_migrate",
    "set session authorization flag_schedules_migrate",
    "grant flag_schedules_processor to current_user",
    "alter role flag_schedules_migrate password 'mine'",
    "alter role current_user superuser",
    "alter role current_user bypassrls",
    "create table public.mine (id int)",
    "create function public.now() returns timestamptz language sql as 'select null::timestamptz'",
    "create operator public.= (leftarg = text, rightarg = text, function = pg_catalog.textne)",
    "lock table feature_flags in access exclusive mode",
    "lock table feature_flag_schedules in exclusive mode",
];

/// What one of the roles may do, and the others not.
const OF_ANOTHER: [(&str, &[&str]); 2] = [
    (
        API,
        &[
            "update feature_flag_schedules set status = 'cancelled', cancelled_at = now(), cancelled_by = 'eve' where id = PENDING",
            "insert into feature_flag_schedules (id, flag_id, scheduled_at, updates, created_by)
                select gen_random_uuid(), id, now() + interval '1 day', '{}', 'eve' from feature_flags",
        ],
    ),
    (
        PROCESSOR,
        &[
            "update feature_flag_schedules set status = 'applied', applied_at = now() where id = DUE",
            "update feature_flag_schedules set status = 'failed', failed_at = now(), error_code = 'expired' where id = DUE",
            "update feature_flags set enabled = true",
            "delete from audit_outbox where event_id = 'e0000000-0000-4000-8000-000000000002'",
            "update audit_outbox set dead_at = now() where event_id = 'e0000000-0000-4000-8000-000000000002'",
            "delete from audit_outbox where event_id = 'e0000000-0000-4000-8000-000000000003'",
            "update audit_outbox set dead_at = now() where event_id = 'e0000000-0000-4000-8000-000000000003'",
        ],
    ),
];

async fn with_rows() -> (Database, Client) {
    let database = deployed().await;
    let superuser = database.connect_as_superuser().await;
    let any_status = "alter table feature_flag_schedules drop constraint feature_flag_schedules_status_check";
    superuser.batch_execute(&format!("{any_status}; {ROWS}")).await.unwrap();
    (database, superuser)
}

/// All rows, and the schema with its guards.
async fn everything(superuser: &Client) -> (Vec<serde_json::Value>, BTreeSet<String>) {
    let mut rows = Vec::new();
    for table in ["feature_flags", "feature_flag_schedules", "audit_outbox"] {
        rows.extend(schema::rows(superuser, table).await);
    }
    let mut things = schema::structure(superuser).await;
    let guards = "
        select concat_ws(' ', t.tgrelid::regclass, t.tgname, t.tgenabled) from pg_trigger t where not t.tgisinternal
        union all select p::text from pg_policy p
        union all select concat_ws(' ', relname, relrowsecurity) from pg_class where relname = 'audit_outbox'
        union all select concat_ws(' ', rolname, rolsuper, rolbypassrls, pg_has_role(oid, 'flag_schedules_migrate', 'member'))
            from pg_roles where rolname like 'flag\\_schedules\\_%'";
    things.extend(superuser.query(guards, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
    (rows, things)
}

/// Refused with an error; or, where row-level security hides the rows, without effect.
async fn is_refused(database: &Database, role: &str, statement: &str) -> Result<(), String> {
    let sql = IDS.iter().fold(statement.to_owned(), |sql, (name, id)| sql.replace(name, id));
    let client = connect_as(database, role).await;
    // A default of the reader, which it could change itself.
    client.batch_execute("set default_transaction_read_only = off").await.unwrap();
    match client.simple_query(&sql).await {
        Err(error) => match error.code().map_or("", |code| code.code()) {
            // Not a mistake of this test.
            code @ ("42601" | "42703" | "42P01" | "42883" | "") => Err(format!("{code} {error:?}: {sql}")),
            _ => Ok(()),
        },
        Ok(answers) => {
            let affected = answers.iter().map(|answer| match answer {
                SimpleQueryMessage::CommandComplete(count) => *count,
                _ => 0,
            });
            let hidden = statement.starts_with("delete from audit_outbox")
                || statement.starts_with("update audit_outbox");
            if hidden && affected.sum::<u64>() == 0 { Ok(()) } else { Err(format!("done: {sql}")) }
        }
    }
}

#[tokio::test]
async fn no_role_can_rewrite_history_or_forge_an_event() {
    let (database, superuser) = with_rows().await;
    let before = everything(&superuser).await;
    let mut faults = Vec::new();

    for role in [API, PROCESSOR, READER] {
        let of_others = OF_ANOTHER.iter().filter(|(other, _)| *other != role).flat_map(|(_, all)| all.iter());
        for statement in MISUSE.iter().chain(of_others) {
            if let Err(fault) = is_refused(&database, role, statement).await {
                faults.push(format!("{role}: {fault}"));
            }
            if everything(&superuser).await != before {
                faults.push(format!("{role} has changed something: {statement}"));
                break;
            }
        }
    }

    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Without this, the test above would not show anything.
#[tokio::test]
async fn each_role_can_do_what_is_its_own() {
    for (role, statements) in OF_ANOTHER {
        for statement in statements {
            let (database, superuser) = with_rows().await;
            let before = everything(&superuser).await;
            assert!(is_refused(&database, role, statement).await.is_err(), "{role}: {statement}");
            assert_ne!(everything(&superuser).await, before, "{role}: {statement}");
        }
    }
}

#[tokio::test]
async fn an_applied_schedule_cannot_be_made_to_be_applied_again() {
    let api = service(deployed().await).await;
    api.flag("a", "production").await;
    let created = api.create(&api.admin(), "a", "", &turn_on()).await;
    api.make_due(text(&created.json, "id"), A_MOMENT).await;
    assert_eq!(api.tick().await.value()["applied"], 1);
    api.settle().await;

    let replay = "update feature_flag_schedules set status = 'pending'";
    for role in [API, PROCESSOR, READER] {
        let client = connect_as(&api.database, role).await;
        client.batch_execute("set default_transaction_read_only = off").await.unwrap();
        let refused = client.batch_execute(replay).await.unwrap_err();
        assert_eq!(refused.code().map(|code| code.code()), Some("42501"), "{role}: {refused:?}");
    }

    assert_eq!(api.tick().await.value()["applied"], 0);
    assert_eq!(of_type(&api.events().await, "flag_schedule.applied").len(), 1);
}

#[tokio::test]
async fn a_cancellation_by_somebody_else_cannot_be_forged() {
    let api = service(deployed().await).await;
    api.flag("a", "production").await;
    let created = api.create(&api.admin(), "a", "", &turn_on()).await;
    api.settle().await;
    let id = text(&created.json, "id");
    let forged = format!(
        "insert into audit_outbox (event_id, event_type, context, schedule)
         select gen_random_uuid(), 'flag_schedule.cancelled', '{}',
             flag_schedule_document(s, 'a', 'production') || '{}'
         from feature_flag_schedules s where id = '{id}'",
        json!({"actor": {"type": "admin", "user_id": "somebody-else"}, "request": {"request_id": "r"}}),
        json!({"status": "cancelled", "cancelled_by": "somebody-else", "cancelled_at": "2026-01-01T00:00:00Z"}),
    );
    for role in [API, PROCESSOR, READER] {
        let client = connect_as(&api.database, role).await;
        client.batch_execute("set default_transaction_read_only = off").await.unwrap();
        let refused = client.batch_execute(&forged).await.unwrap_err();
        assert_eq!(refused.code().map(|code| code.code()), Some("42501"), "{role}: {refused:?}");
    }

    api.tick().await.value();
    assert_eq!(api.events().await.len(), 1, "only the creation");
}

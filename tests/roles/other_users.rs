//! What others make in the schema, or leave in a session, hides nothing of the service's and is not run by it.

use harness::api::Api;
use tokio_postgres::Client;

use super::work::do_all;
use super::{API, PROCESSOR, READER, connect_as, deployed, service};
use crate::support::{of_type, only, text, turn_on};

/// Functions and operators that fit the statements' calls better than PostgreSQL's own.
const BETTER_FITS: &str = "
    create function evil() returns void language plpgsql as $$ begin insert into witness values (current_user); end $$;
    create function unnest(a uuid[]) returns setof uuid language plpgsql as $$
        begin perform evil(); return query select pg_catalog.unnest(a); end $$;
    create function make_interval(secs double precision) returns interval language plpgsql as $$
        begin perform evil(); return pg_catalog.make_interval(secs => secs); end $$;
    create function num_nonnulls(a timestamptz, b timestamptz) returns integer language plpgsql as $$
        begin perform evil(); return pg_catalog.num_nonnulls(a, b); end $$;
    create function jsonb_build_object(a text, b jsonb) returns jsonb language plpgsql as $$
        begin perform evil(); return pg_catalog.jsonb_build_object(a, b); end $$;
    create function to_jsonb(a timestamptz) returns jsonb language plpgsql as $$
        begin perform evil(); return pg_catalog.to_jsonb(a); end $$;
    create function pg_has_role(a regrole, b text) returns boolean language plpgsql as $$
        begin perform evil(); return false; end $$;
    create function flag_schedules_is_guarded(guarded regclass) returns boolean language plpgsql as $$
        begin perform evil(); return false; end $$;
    create function same(a varchar, b text) returns boolean language plpgsql as $$
        begin perform evil(); return a::text = b; end $$;
    create operator = (leftarg = varchar, rightarg = text, function = same);
    create function same_name(a text, b name) returns boolean language plpgsql as $$
        begin perform evil(); return true; end $$;
    create operator = (leftarg = text, rightarg = name, function = same_name);
    create aggregate count(*) (sfunc = int8inc, stype = bigint, initcond = '1000')";

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

#[tokio::test]
async fn functions_and_operators_of_others_are_not_run_by_the_service() {
    let database = deployed().await;
    let superuser = database.connect_as_superuser().await;
    let stranger = format!("stranger_{}", database.name());
    run(
        &superuser,
        &format!(
            "alter table feature_flags alter flag_key type varchar(200), alter environment type varchar(100);
         create role {stranger}; grant create, usage on schema public to public;
         set role {stranger};
         create table witness (who name); grant all on witness to public;
         {BETTER_FITS};
         reset role"
        ),
    )
    .await;
    let api = service(database).await;
    api.flag("a", "production").await;

    do_all(&api).await;

    // The tests' own queries are not as careful.
    let rows = superuser.query("select distinct who from public.witness", &[]).await.unwrap();
    let of_service =
        rows.iter().map(|row| row.get(0)).filter(|who: &String| who.starts_with("flag_schedules_"));
    assert_eq!(of_service.collect::<Vec<_>>(), Vec::<String>::new());
    run(
        &superuser,
        &format!("set search_path = pg_catalog; drop owned by {stranger} cascade; drop role {stranger}"),
    )
    .await;
}

/// Of a table that another tool owns: runs with the function's role, in its session.
const SWALLOW: &str = "
    create function swallow() returns trigger language plpgsql as $$
    begin
        create temporary table if not exists audit_outbox (like public.audit_outbox including all);
        create temporary table if not exists feature_flag_schedules (like public.feature_flag_schedules including all);
        return new;
    end $$;
    create trigger swallow before insert or update on feature_flag_schedules for each row execute function swallow()";

async fn nothing_is_swallowed(api: &Api) {
    run(&api.database.connect_as_superuser().await, SWALLOW).await;
    api.flag("a", "production").await;
    let token = api.admin();

    for _ in 0..2 {
        let created = api.create(&token, "a", "", &turn_on()).await;
        assert_eq!(created.status, 201, "{created:?}");
        let cancelled = api.cancel(&token, "a", text(&created.json, "id"), "").await;
        assert_eq!(cancelled.status, 200, "{cancelled:?}");
    }

    let events = api.events().await;
    for event_type in ["flag_schedule.created", "flag_schedule.cancelled"] {
        assert_eq!(of_type(&events, event_type).len(), 2, "{events:#?}");
    }
}

#[tokio::test]
async fn temporary_tables_of_a_trigger_hide_no_table_of_the_service() {
    nothing_is_swallowed(&service(deployed().await).await).await;
}

/// The local stack's one role.
#[tokio::test]
async fn nor_without_the_roles_of_a_deployment() {
    nothing_is_swallowed(&Api::start().await).await;
}

#[tokio::test]
async fn in_a_schema_of_its_own_the_service_works_and_is_guarded() {
    let database = harness::database::Database::empty().await;
    let superuser = database.connect_as_superuser().await;
    let name = database.name().to_owned();
    run(&superuser, &format!("create schema flags; alter database {name} set search_path = flags")).await;
    super::run_file(&superuser).await;
    let roles = [API, PROCESSOR, READER].join(", ");
    run(
        &superuser,
        &format!(
            "grant usage on schema flags to {roles}; grant all on schema flags to flag_schedules_migrate"
        ),
    )
    .await;
    super::migrate(&database).await.value();
    run(&superuser, "set search_path = flags; insert into feature_flags (flag_key) values ('a')").await;
    let url = database.url();
    let api = Api::with().as_roles(&url).database(database).start().await;

    let created = api.create(&api.admin(), "a", "", &turn_on()).await;
    let listed = api.list(&api.admin(), "a", "").await;

    assert_eq!((created.status, listed.status), (201, 200), "{created:?} {listed:?}");
    only(&api.events().await, "flag_schedule.created");
    let client = connect_as(&api.database, API).await;
    let refused =
        client.batch_execute("update feature_flag_schedules set status = 'applied'").await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code()), Some("42501"), "{refused:?}");
}

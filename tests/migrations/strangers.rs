//! A role that may create in the schema `public`, as everybody may on PostgreSQL 14, gains nothing when `migrate` runs.

use harness::database::Database;
use serde_json::json;
use tokio_postgres::Client;

use super::adopted::TABLES;
use super::{checksums, execute, migrate_at, migrate_on, names, refusal, run, schema};

/// Functions and operators that fit better than PostgreSQL's own: the same name, and exactly the types of the call.
const BETTER_FITS: &str = "
    create function evil() returns void language plpgsql as $$
        begin insert into witness values (current_user); end $$;
    create function steal_count(n bigint, v name) returns bigint language plpgsql as $$
        begin perform evil(); return n + 1; end $$;
    create aggregate count(name) (sfunc = steal_count, stype = bigint, initcond = '0');
    create function steal_oid_count(n bigint, v oid) returns bigint language plpgsql as $$
        begin perform evil(); return n + 1; end $$;
    create aggregate count(oid) (sfunc = steal_oid_count, stype = bigint, initcond = '0');
    create function steal_agg(a text[], v text) returns text[] language plpgsql as $$
        begin perform evil(); return a || v; end $$;
    create aggregate array_agg(text) (sfunc = steal_agg, stype = text[], initcond = '{}');
    create function unnest(a smallint[]) returns setof smallint language plpgsql as $$
        begin perform evil(); return query select pg_catalog.unnest(a); end $$;
    create function same(a oid, b regclass) returns boolean language plpgsql as $$
        begin perform evil(); return a = b::oid; end $$;
    create operator = (leftarg = oid, rightarg = regclass, function = same);
    create function same(a text[], b text[]) returns boolean language plpgsql as $$
        begin perform evil(); return a::text = b::text; end $$;
    create operator = (leftarg = text[], rightarg = text[], function = same);
    create function same(a varchar, b varchar) returns boolean immutable language plpgsql as $$
        begin perform evil(); return a::text = b::text; end $$;
    create operator = (leftarg = varchar, rightarg = varchar, function = same);
    create function format(a text, b text) returns text language plpgsql as $$
        begin perform evil(); return pg_catalog.format(a, b); end $$;
    create function format(a text, b name) returns text language plpgsql as $$
        begin perform evil(); return pg_catalog.format(a, b); end $$;
    create function format(a text, b name, c text) returns text language plpgsql as $$
        begin perform evil(); return pg_catalog.format(a, b, c); end $$;
    create function format(a text, b regrole, c name) returns text language plpgsql as $$
        begin perform evil(); return pg_catalog.format(a, b, c); end $$;
    create function to_regclass(a varchar) returns regclass language plpgsql as $$
        begin perform evil(); return pg_catalog.to_regclass(a::text); end $$";

/// A database in whose schema `public` a stranger has made something, with a table that tells who ran it.
async fn with_stranger(before: &str, made: &str) -> (Database, Client) {
    let database = Database::empty().await;
    let superuser = database.connect_as_superuser().await;
    let role = format!("stranger_{}", uuid::Uuid::new_v4().simple());
    execute(&superuser, &format!("create role {role}; grant create, usage on schema public to public")).await;
    if !before.is_empty() {
        execute(&database.connect().await, before).await;
    }
    let stranger = format!(
        "set role {role}; create table witness (who name); grant all on witness to public; {made}; reset role"
    );
    execute(&superuser, &stranger).await;
    (database, superuser)
}

async fn witnesses(client: &Client) -> usize {
    client
        .query("select who from public.witness", &[])
        .await
        .unwrap_or_else(|error| panic!("{error:?}"))
        .len()
}

/// Ends the stranger's role with all that it has made.
async fn clear(client: &Client) {
    let sql = "do $$ declare stranger name; begin
        select relowner::regrole::name into stranger from pg_class where oid = 'public.witness'::regclass;
        execute format('drop owned by %I cascade', stranger); execute format('drop role %I', stranger); end $$";
    execute(client, "set search_path = pg_catalog").await;
    execute(client, sql).await;
}

#[tokio::test]
async fn what_strangers_have_made_in_public_is_not_run_by_migrate() {
    let narrow = TABLES.replace("status text not null", "status varchar(20) not null");
    for tables in ["", TABLES, &narrow] {
        let (database, superuser) = with_stranger(tables, BETTER_FITS).await;
        let migrate = migrate_on(&database).await;

        let first = run(&migrate).await;
        let second = run(&migrate).await;

        assert_eq!(witnesses(&superuser).await, 0);
        assert_eq!((&first["applied"], &second["applied"]), (&json!(names()), &json!([])));
        clear(&superuser).await;
    }
}

#[tokio::test]
async fn nor_by_the_files_of_the_roles() {
    let (database, superuser) = with_stranger(TABLES, BETTER_FITS).await;

    crate::roles::run_file(&superuser).await;
    // As their owner would: what `migrate` alters, it must own.
    let owned = "alter table feature_flags owner to flag_schedules_migrate;
                 alter table feature_flag_schedules owner to flag_schedules_migrate";
    execute(&superuser, owned).await;
    let applied = run(&migrate_at(&database.url_as("flag_schedules_migrate")).await).await;

    assert_eq!(witnesses(&superuser).await, 0);
    assert_eq!(applied["applied"], json!(names()));
    clear(&superuser).await;
}

/// Without this, the tests above would not show anything.
#[tokio::test]
async fn they_would_be_run_by_the_migrations_as_they_are_written() {
    let (database, superuser) = with_stranger("", BETTER_FITS).await;
    let files = checksums::files();
    let (_, sql) = files.first_key_value().expect("there are migrations");

    execute(&database.connect().await, &String::from_utf8_lossy(sql)).await;

    assert!(witnesses(&superuser).await > 0);
    clear(&superuser).await;
}

#[tokio::test]
async fn a_history_of_migrations_that_a_stranger_has_made_is_refused() {
    let made = format!(
        "create table {0} (version int8 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255));
         create function evil() returns trigger language plpgsql as $$
             begin insert into public.witness values (current_user); return new; end $$;
         create trigger evil before insert on {0} for each row execute function evil();
         grant all on {0} to public",
        schema::HISTORY
    );
    let (database, superuser) = with_stranger("", &made).await;
    let before = schema::dump(&superuser).await;

    let told = refusal(&migrate_on(&database).await).await;

    for expected in ["flag_schedules_schema_history is owned by stranger_", "a table with the trigger evil"] {
        assert!(told.contains(expected), "{expected} is not in: {told}");
    }
    assert_eq!(witnesses(&superuser).await, 0);
    assert_eq!(schema::dump(&superuser).await, before);
    clear(&superuser).await;
}

#[tokio::test]
async fn a_check_that_uses_a_strangers_function_is_not_evaluated() {
    let made = "create function allowed(status text) returns boolean immutable language plpgsql as $$
        begin insert into public.witness values (current_user); return true; end $$";
    let (database, superuser) = with_stranger(TABLES, made).await;
    let check = "alter table feature_flag_schedules add check (public.allowed(status)),
        alter status set default case when public.allowed('pending') then 'pending' end";
    execute(&database.connect().await, check).await;

    run(&migrate_on(&database).await).await;

    assert_eq!(witnesses(&superuser).await, 0);
    execute(&superuser, "drop table feature_flag_schedules cascade").await;
    clear(&superuser).await;
}

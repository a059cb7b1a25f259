//! One flag that runs into the database's time limits, among two hundred: it is left alone, and the others are done.

use flag_schedules::ports::store_error::StoreError;
use flag_schedules::processor::{TickError, TickReport};
use harness::postgres::SERVICE_ROLE;

use super::world::World;

/// Flags with two due schedules each.
const FLAGS: u64 = 200;

async fn world() -> World {
    let world = World::start(1).await;
    let name = "select current_database()";
    let database: String = world.client.query_one(name, &[]).await.unwrap().get(0);
    let sql = format!(
        "alter role {SERVICE_ROLE} in database {database} set lock_timeout = '500ms';
         alter role {SERVICE_ROLE} in database {database} set statement_timeout = '1s';
         insert into feature_flags (flag_key) select 'flag-' || n from generate_series(1, {FLAGS}) n;
         insert into feature_flag_schedules (flag_id, scheduled_at, updates)
         select id, now() - interval '1 second' * random() * 60, '{{\"enabled\": true}}'
         from feature_flags, generate_series(1, 2)"
    );
    world.client.batch_execute(&sql).await.unwrap();
    world
}

/// Everything but flag-117's was applied; those stay due, and the flag as it was.
async fn all_others_were_applied(world: &World, report: &TickReport) {
    assert_eq!((report.applied, report.failed()), (2 * (FLAGS - 1), 0), "{report:?}");
    assert_eq!((report.flags_left, report.still_due), (1, Some(2)), "{report:?}");
    let sql =
        "select f.flag_key, f.enabled from feature_flag_schedules s join feature_flags f on f.id = s.flag_id
        where s.status <> 'applied'";
    for row in world.client.query(sql, &[]).await.unwrap() {
        assert_eq!((row.get::<_, &str>(0), row.get::<_, bool>(1)), ("flag-117", false));
    }
}

#[tokio::test]
async fn a_change_that_never_ends_is_left_to_the_next_tick_and_harms_no_other() {
    let world = world().await;
    let sql = "create function sleep() returns trigger language plpgsql as $$
         begin
             if new.flag_key = 'flag-117' then perform pg_sleep(60); end if;
             return new;
         end $$;
         create trigger sleep before update on feature_flags for each row execute function sleep();";
    world.client.batch_execute(sql).await.unwrap();

    let report = world.tick(0).await.unwrap();

    all_others_were_applied(&world, &report).await;
    // With nothing else to do, a tick has done nothing at all because of an error.
    let error = world.tick(0).await.unwrap_err();
    assert!(matches!(error, TickError::Store(StoreError::Internal(_))), "{error:?}");

    world.client.batch_execute("drop trigger sleep on feature_flags").await.unwrap();
    assert_eq!(world.tick(0).await.unwrap().applied, 2);
}

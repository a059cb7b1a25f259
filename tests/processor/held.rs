//! A tick that stands still in the middle of writing, for as long as a test wants it to.

use std::time::Instant;

use harness::database::Database;
use tokio_postgres::Client;

use crate::processor::crowd::count;
use crate::support::LIMIT;

/// Who holds a tick up.
pub struct Held {
    client: Client,
}

impl Held {
    /// From now on, whoever has written `written` schedules waits before the next one.
    pub async fn after(database: &Database, written: i32) -> Self {
        let client = database.connect().await;
        // A sequence counts also what is rolled back, so only the first tick is held up.
        let sql = format!(
            "create sequence written;
             create function hold_up() returns trigger language plpgsql as $$
             begin
                 if nextval('written') = {written} + 1 then perform pg_advisory_xact_lock(1); end if;
                 return new;
             end $$;
             create trigger hold_up before update on feature_flag_schedules
                 for each row execute function hold_up();
             select pg_advisory_lock(1)"
        );
        client.batch_execute(&sql).await.unwrap();
        Self { client }
    }

    /// Waits until somebody is held up.
    pub async fn up(&self) {
        let sql = "select count(*) from pg_locks where locktype = 'advisory' and not granted
            and database = (select oid from pg_database where datname = current_database())";
        let deadline = Instant::now() + LIMIT;
        while count(&self.client, sql).await == 0 {
            assert!(Instant::now() < deadline, "no tick is held up");
            tokio::task::yield_now().await;
        }
    }

    /// How many schedules have been written, also by who is held up.
    pub async fn written(&self) -> i64 {
        count(&self.client, "select last_value - 1 from written").await
    }

    /// Lets it go on.
    pub async fn release(&self) {
        self.client.execute("select pg_advisory_unlock(1)", &[]).await.unwrap();
    }
}

/// Waits until no connection of the service is at work or in a transaction.
pub async fn all_at_rest(client: &Client) {
    let sql = "select count(*) from pg_stat_activity where datname = current_database()
        and application_name = 'flag-schedules' and state <> 'idle'";
    let deadline = Instant::now() + LIMIT;
    while count(client, sql).await != 0 {
        assert!(Instant::now() < deadline, "connections of the service are still at work");
        tokio::task::yield_now().await;
    }
}

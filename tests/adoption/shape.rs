//! Base tables as another tool has made them, with all the freedom that `migrate` leaves it.

use harness::api::Api;
use harness::cloudwatch::CloudWatch;
use harness::database::Database;
use harness::lambda::{Env, Launch};
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::LIMIT;

/// Other order and names, further columns, `timestamp` without time zone, whatever may be NULL is, no check on `status`
/// or `rollout_percentage`; and a rule of the tool's own: a frozen flag may not be enabled.
pub const TABLES: &str = r#"
    create table feature_flags (
        environment varchar(100) not null default 'production',
        owner_team text,
        flag_key text not null,
        updated_at timestamp default current_timestamp,
        created_at timestamp default current_timestamp,
        rollout_percentage integer default 0,
        description text,
        enabled boolean default false,
        id uuid not null default gen_random_uuid(),
        constraint "PK_5b2d8a4e" primary key (id),
        constraint "UQ_7c01f3aa" unique (environment, flag_key),
        constraint "CHK_frozen" check (enabled is not true or owner_team is distinct from 'frozen')
    );
    create table feature_flag_schedules (
        status text not null default 'pending',
        retry_count integer default 0,
        updates jsonb not null,
        updated_at timestamptz default current_timestamp,
        created_at timestamptz default current_timestamp,
        error_message text,
        applied_at timestamptz,
        scheduled_at timestamptz not null,
        metadata jsonb,
        flag_id uuid not null,
        id uuid not null default gen_random_uuid(),
        constraint "PK_e3b71c90" primary key (id),
        constraint "FK_1d44c0be" foreign key (flag_id) references feature_flags (id) on delete cascade
    )"#;

/// A service on adopted tables.
pub struct Adopted {
    pub api: Api,
    pub cloudwatch: CloudWatch,
    /// A superuser's connection that writes what was there before: no trigger of the service runs for it. The database's
    /// own constraints hold.
    pub owner: Client,
    pub token: String,
}

/// A column that may vary.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Column {
    pub table: String,
    pub name: String,
    /// `timestamp with time zone`, `text`, …
    pub kind: String,
}

impl Adopted {
    pub async fn start() -> Self {
        let database = Database::empty().await;
        database.connect().await.batch_execute(TABLES).await.unwrap();
        let env = Env::new().set("DATABASE_URL", database.url());
        let migrate = Launch::of("migrate").env(env).timeout(LIMIT).start().await.unwrap();
        migrate.invoke(&Value::Null).await.value();
        Self::on(database).await
    }

    /// On a database that has been migrated.
    pub async fn on(database: Database) -> Self {
        let owner = database.connect_as_superuser().await;
        owner.batch_execute("set session_replication_role = replica; set timezone = 'UTC'").await.unwrap();
        let cloudwatch = CloudWatch::start().await;
        let api = Api::with().cloudwatch(&cloudwatch).database(database).start().await;
        let token = api.admin();
        Self { api, cloudwatch, owner, token }
    }

    /// Every column of both tables but those that say which row it is.
    pub async fn columns(&self) -> Vec<Column> {
        let sql =
            "select table_name::text, column_name::text, data_type::text from information_schema.columns
            where table_schema = 'public' and table_name in ('feature_flags', 'feature_flag_schedules')
                and column_name not in ('id', 'flag_id', 'flag_key', 'environment') and is_generated = 'NEVER'
            order by table_name, column_name";
        let rows = self.owner.query(sql, &[]).await.unwrap();
        let column =
            |row: &tokio_postgres::Row| Column { table: row.get(0), name: row.get(1), kind: row.get(2) };
        rows.iter().map(column).collect()
    }

    /// Removes all rows, and lets new connections have this time zone.
    pub async fn reset(&self, time_zone: &str) {
        let name = self.api.database.name();
        let sql = format!(
            "delete from feature_flag_schedules; delete from feature_flags; delete from audit_outbox;
             alter database {name} set timezone = '{time_zone}';
             select pg_terminate_backend(pid, 5000) from pg_stat_activity
             where datname = current_database() and application_name = 'flag-schedules'"
        );
        self.owner.batch_execute(&sql).await.unwrap();
    }
}

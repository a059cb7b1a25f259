//! The service's own statements with the parameters that it gives them, for a bare client to send; and a page as columns.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use futures_util::future::join;
use harness::api::Api;
use serde_json::Value;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row, Statement};
use uuid::Uuid;

pub const CREATE: &str = include_str!("../../shared/src/adapters/postgres/sql/create_schedule.sql");
const CANCEL: &str = include_str!("../../shared/src/adapters/postgres/sql/cancel_schedule.sql");

/// The first page of a flag with a column for each field of a schedule: the least that the server can do for a list.
const COLUMNS: &str = "-- columns of a page
    select
        s.id, s.status, s.scheduled_at, s.apply_by, s.updates, s.expect, s.reason, s.created_at, s.created_by,
        s.cancelled_at, s.cancelled_by, s.cancel_reason, s.applied_at, s.failed_at, s.error_code, s.error_message,
        flag.flag_key, flag.environment
    from feature_flags flag
    join lateral (
        select
            id, status, scheduled_at, apply_by, updates, expect, reason, created_at, created_by,
            cancelled_at, cancelled_by, cancel_reason, applied_at, failed_at, error_code, error_message
        from feature_flag_schedules
        where flag_id = flag.id
        order by scheduled_at, id
        limit $3
    ) s on true
    where flag.flag_key = $1 and flag.environment = $2";

/// A bare `tokio-postgres` client on this thread, as the role and with the limits of the service.
pub struct Bare {
    client: Client,
    /// As the service does, which prepares a statement the first time for the next time.
    prepared: Mutex<HashMap<&'static str, Statement>>,
    /// What the service knew of a request, as it stands in the outbox.
    context: Value,
}

impl Bare {
    /// Connects; there must be an event in the outbox.
    pub async fn connect(api: &Api) -> Self {
        let client = connect(&api.database.url()).await;
        let row = client.query_one("select context from audit_outbox limit 1", &[]).await.expect("an event");
        Self { client, prepared: Mutex::default(), context: row.get(0) }
    }

    /// The same on a new connection.
    pub async fn again(&self, api: &Api) -> Self {
        let client = connect(&api.database.url()).await;
        Self { client, prepared: Mutex::default(), context: self.context.clone() }
    }

    /// `create_schedule.sql`.
    pub async fn create(&self, flag: &str) -> Vec<Row> {
        let nothing: Option<&str> = None;
        let no_time: Option<DateTime<Utc>> = None;
        let no_json: Option<Value> = None;
        let params: [(&(dyn ToSql + Sync), Type); 13] = [
            (&flag, Type::TEXT),
            (&"production", Type::TEXT),
            (&Uuid::now_v7(), Type::UUID),
            (&(harness::clock::now() + chrono::TimeDelta::hours(1)), Type::TIMESTAMPTZ),
            (&no_time, Type::TIMESTAMPTZ),
            (&serde_json::json!({"enabled": true}), Type::JSONB),
            (&no_json, Type::JSONB),
            (&"first users", Type::TEXT),
            (&"admin-1", Type::TEXT),
            (&nothing, Type::TEXT),
            (&Uuid::now_v7(), Type::UUID),
            (&self.context, Type::JSONB),
            (&false, Type::BOOL),
        ];
        self.run(CREATE, &params).await
    }

    /// The first page as columns, every one of which is read; gives the number of schedules.
    pub async fn list(&self, flag: &str, limit: i64) -> usize {
        let params: [(&(dyn ToSql + Sync), Type); 3] =
            [(&flag, Type::TEXT), (&"production", Type::TEXT), (&(limit + 1), Type::INT8)];
        let rows = self.run(COLUMNS, &params).await;
        rows.iter().map(read).count()
    }

    /// `cancel_schedule.sql`.
    pub async fn cancel(&self, flag: &str, id: Uuid) -> Vec<Row> {
        let params: [(&(dyn ToSql + Sync), Type); 8] = [
            (&flag, Type::TEXT),
            (&"production", Type::TEXT),
            (&id, Type::UUID),
            (&"admin-1", Type::TEXT),
            (&"not yet", Type::TEXT),
            (&Uuid::now_v7(), Type::UUID),
            (&self.context, Type::JSONB),
            (&false, Type::BOOL),
        ];
        self.run(CANCEL, &params).await
    }
}

impl Bare {
    async fn run(&self, sql: &'static str, params: &[(&(dyn ToSql + Sync), Type)]) -> Vec<Row> {
        let known = self.prepared.lock().expect("no panic before").get(sql).cloned();
        if let Some(statement) = known {
            let params: Vec<_> = params.iter().map(|(value, _)| *value).collect();
            return self.client.query(&statement, &params).await.expect("the statement");
        }
        let types: Vec<Type> = params.iter().map(|(_, of_type)| of_type.clone()).collect();
        let (rows, statement) =
            join(self.client.query_typed(sql, params), self.client.prepare_typed(sql, &types)).await;
        self.prepared.lock().expect("no panic before").insert(sql, statement.expect("it is prepared"));
        rows.expect("the statement")
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the server answers");
    tokio::spawn(connection);
    client
}

/// Reads a row of [`COLUMNS`].
fn read(row: &Row) {
    let columns = row.columns().iter().enumerate();
    columns.for_each(|(index, column)| match *column.type_() {
        Type::UUID => drop(black_box(row.get::<_, Uuid>(index))),
        Type::TIMESTAMPTZ => drop(black_box(row.get::<_, Option<DateTime<Utc>>>(index))),
        Type::JSONB => drop(black_box(row.get::<_, Option<Value>>(index))),
        _ => drop(black_box(row.get::<_, Option<String>>(index))),
    });
}

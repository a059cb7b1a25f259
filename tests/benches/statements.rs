//! The service's own statements with the parameters that it gives them, for a bare client to send.

use harness::api::Api;
use serde_json::Value;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row};
use uuid::Uuid;

const CREATE: &str = include_str!("../../shared/src/adapters/postgres/sql/create_schedule.sql");
const LIST: &str = include_str!("../../shared/src/adapters/postgres/sql/list_schedules.sql");
const CANCEL: &str = include_str!("../../shared/src/adapters/postgres/sql/cancel_schedule.sql");

/// A bare `tokio-postgres` client on this thread, as the role and with the limits of the service.
pub struct Bare {
    client: Client,
    /// What the service knew of a request, as it stands in the outbox.
    context: Value,
}

impl Bare {
    /// Connects; there must be an event in the outbox.
    pub async fn connect(api: &Api) -> Self {
        let client = connect(&api.database.url()).await;
        let row = client.query_one("select context from audit_outbox limit 1", &[]).await.expect("an event");
        Self { client, context: row.get(0) }
    }

    /// The same on a new connection.
    pub async fn again(&self, api: &Api) -> Self {
        Self { client: connect(&api.database.url()).await, context: self.context.clone() }
    }

    /// `create_schedule.sql`.
    pub async fn create(&self, flag: &str) -> Vec<Row> {
        let nothing: Option<&str> = None;
        let no_time: Option<chrono::DateTime<chrono::Utc>> = None;
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
        self.client.query_typed(CREATE, &params).await.expect("a create")
    }

    /// `list_schedules.sql`: the first page.
    pub async fn list(&self, flag: &str, limit: i64) -> Vec<Row> {
        let nothing: Option<&str> = None;
        let no_time: Option<chrono::DateTime<chrono::Utc>> = None;
        let no_id: Option<Uuid> = None;
        let params: [(&(dyn ToSql + Sync), Type); 6] = [
            (&flag, Type::TEXT),
            (&"production", Type::TEXT),
            (&nothing, Type::TEXT),
            (&no_time, Type::TIMESTAMPTZ),
            (&no_id, Type::UUID),
            (&(limit + 1), Type::INT8),
        ];
        self.client.query_typed(LIST, &params).await.expect("a page")
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
        self.client.query_typed(CANCEL, &params).await.expect("a cancel")
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the server answers");
    tokio::spawn(connection);
    client
}

//! A database of its own for each test, on the server that `stack test` has started, or on one of the test's own.

use std::net::SocketAddr;
use std::time::Duration;

use tokio_postgres::Client;

use crate::postgres::Server;
use crate::proxy::Proxy;
use crate::{background, postgres, settings};
use common::error::{Doing, Result};

const GRANTS: &str = include_str!("../../migrations/roles/grants.sql");

/// A database that is dropped when this is dropped, whoever is still connected.
#[derive(Debug)]
pub struct Database {
    name: String,
    superuser_url: String,
    url: String,
}

impl Database {
    /// A copy of the migrated database.
    pub async fn migrated() -> Self {
        let template = settings::of_the_test_stack(settings::TEST_TEMPLATE_DATABASE);
        Self::create(&format!("template {template}")).await
    }

    /// A database without tables.
    pub async fn empty() -> Self {
        Self::create("").await
    }

    /// A database without tables on a server that may come to harm.
    pub async fn empty_on(server: &Server) -> Self {
        Self::create_on(&server.url("postgres"), &server.service_url("postgres"), "").await
    }

    /// One that is there already; it is dropped with this, if its server still answers.
    pub fn existing(superuser_url: &str, url: &str) -> Self {
        let name = url.rsplit_once('/').map_or("", |(_, name)| name).to_owned();
        Self { superuser_url: superuser_url.to_owned(), url: url.to_owned(), name }
    }

    async fn create(from: &str) -> Self {
        let superuser_url = settings::of_the_test_stack(settings::TEST_DATABASE_URL);
        let url = settings::of_the_test_stack(settings::TEST_SERVICE_DATABASE_URL);
        Self::create_on(&superuser_url, &url, from).await
    }

    async fn create_on(superuser_url: &str, url: &str, from: &str) -> Self {
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let sql = format!("create database {name} owner {} {from}", postgres::SERVICE_ROLE);
        administer(superuser_url, &sql).await.unwrap_or_else(|error| panic!("{error}"));
        let of = |url: &str| with_database(url, &name);
        Self { superuser_url: of(superuser_url), url: of(url), name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address as the functions get it: the service's role, which owns the database and is no superuser.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Its address for one of a deployment's roles, `flag_schedules_api` for instance.
    pub fn url_as(&self, role: &str) -> String {
        postgres::as_role(&self.url(), role)
    }

    /// Gives the roles of a deployment their privileges, as `migrate` does where `roles.sql` has been run.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn grant_to_roles(&self) {
        let roles = postgres::DEPLOYED_ROLES.join(", ");
        let sql = format!("grant connect on database {} to {roles}; {GRANTS}", self.name);
        self.connect_as_superuser().await.batch_execute(&sql).await.expect("the grants fit the schema");
    }

    /// A network of its own before it, and its address through that.
    pub async fn behind_proxy(&self) -> (Proxy, String) {
        let url = self.url();
        let config: tokio_postgres::Config = url.parse().unwrap_or_else(|error| panic!("{error}"));
        let port = config.get_ports()[0];
        let proxy = Proxy::to(SocketAddr::from(([127, 0, 0, 1], port))).await;
        let url = url.replace(&format!(":{port}/"), &format!(":{}/", proxy.address().port()));
        (proxy, url)
    }

    /// Its address for a superuser.
    pub fn superuser_url(&self) -> String {
        self.superuser_url.clone()
    }

    /// A connection as the service's role, without its time limits: a test may hold a lock as long as it likes.
    pub async fn connect(&self) -> Client {
        let client = postgres::connect(&self.url()).await.unwrap_or_else(|error| panic!("{error}"));
        let unlimited =
            "set lock_timeout = 0; set statement_timeout = 0; set idle_in_transaction_session_timeout = 0";
        client.batch_execute(unlimited).await.expect("a new connection takes settings");
        client
    }

    /// A connection as a superuser, for sabotage.
    pub async fn connect_as_superuser(&self) -> Client {
        postgres::connect(&self.superuser_url()).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Ends the connections of all functions to this database; gives their number.
    pub async fn terminate_connections(&self) -> i64 {
        let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid()";
        let client = self.connect_as_superuser().await;
        client.query_one(sql, &[]).await.expect("a superuser may end connections").get(0)
    }

    /// The states of the other connections to this database, such as `idle` or `idle in transaction`.
    pub async fn connection_states(&self) -> Vec<String> {
        let sql = "select coalesce(state, '') from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'";
        let client = self.connect_as_superuser().await;
        let rows = client.query(sql, &[]).await.expect("a superuser sees all connections");
        rows.iter().map(|row| row.get(0)).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("drop database if exists {} with (force)", self.name);
        let server = with_database(&self.superuser_url, "postgres");
        // Nobody waits: what is not dropped when the tests end goes with the server.
        background::spawn(async move {
            let _ = tokio::time::timeout(Duration::from_secs(60), administer(&server, &sql)).await;
        });
    }
}

async fn administer(server: &str, sql: &str) -> Result<()> {
    let client = postgres::connect(server).await?;
    client.batch_execute(sql).await.doing(|| format!("cannot {sql}"))
}

/// `url` with the name of its database replaced.
fn with_database(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap_or((url, ""));
    format!("{server}/{name}")
}

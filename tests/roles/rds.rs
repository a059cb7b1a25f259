//! A server as RDS has it: its master user is no superuser, and the service has not been there yet.

use std::process::{Output, Stdio};

use harness::lambda::{Env, Function};
use harness::postgres::{DEPLOYED_ROLES, Options, RETENTION_ROLE, Server, bin_dir, connect};
use harness::settings::workspace;
use serde_json::json;
use tokio_postgres::Client;

use super::MIGRATE;

/// The user who runs `roles.sql`: it may make roles and databases, and owns what it made.
pub const MASTER: &str = "master";
const PASSWORD: &str = "only-on-this-server";

pub struct Rds {
    server: Server,
}

impl Rds {
    pub async fn start() -> Self {
        let server = Server::start(Options { careless: true, ..Options::default() }).await.unwrap();
        let superuser = connect(&server.url("postgres")).await.unwrap();
        let roles = format!("{}, {RETENTION_ROLE}", DEPLOYED_ROLES.join(", "));
        let fresh = format!(
            "drop owned by {roles}; drop role {roles}; create role rds_iam;
             create role {MASTER} login createrole createdb password '{PASSWORD}'"
        );
        superuser.batch_execute(&fresh).await.unwrap();
        Self { server }
    }

    pub async fn create_database(&self, name: &str) {
        let master = self.connect_as(MASTER, "postgres").await;
        master.batch_execute(&format!("create database {name}")).await.unwrap();
    }

    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:{PASSWORD}@127.0.0.1:{}/{database}", self.server.port())
    }

    pub async fn connect_as(&self, role: &str, database: &str) -> Client {
        connect(&self.url(role, database)).await.unwrap_or_else(|error| panic!("{role}: {error}"))
    }

    pub async fn superuser(&self, database: &str) -> Client {
        connect(&self.server.url(database)).await.unwrap()
    }

    /// Runs `migrate` on a database, as its role.
    pub async fn migrate(&self, database: &str) {
        let master = self.connect_as(MASTER, database).await;
        master.batch_execute(&format!("alter role {MIGRATE} password '{PASSWORD}'")).await.unwrap();
        let env = Env::new().set("DATABASE_URL", self.url(MIGRATE, database));
        Function::start("migrate", env).await.unwrap().invoke(&json!({})).await.value();
    }

    /// Runs a file of `migrations` with psql, as the master user.
    pub async fn psql(&self, database: &str, file: &str) -> Output {
        let mut psql = tokio::process::Command::new(bin_dir().unwrap().join("psql"));
        psql.args(["--no-psqlrc", "--set=ON_ERROR_STOP=1", "--quiet", "--file"]);
        psql.arg(workspace().join("migrations").join(file)).arg(self.url(MASTER, database));
        psql.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
    }

    /// A database as a deployment with retention and IAM has it.
    pub async fn deploy(&self, database: &str) {
        self.create_database(database).await;
        for file in ["roles/roles.sql", "roles/retention.sql"] {
            let output = self.psql(database, file).await;
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        self.migrate(database).await;
        let roles = format!("{}, {RETENTION_ROLE}", DEPLOYED_ROLES.join(", "));
        let grant = format!("grant rds_iam to {roles}");
        self.superuser(database).await.batch_execute(&grant).await.unwrap();
    }
}

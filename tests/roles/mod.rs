//! The database roles of `migrations/roles`: with its own role every function can do its work, and nothing else.
//!
//! The server has the roles already, for the local stack is set up by the same file; what a database needs of it is done
//! here, database by database.

mod forbidden;
mod guards;
mod master;
mod misuse;
mod other_users;
mod rds;
mod removal;
mod upgrade;
pub mod work;

use harness::api::Api;
use harness::database::Database;
use harness::lambda::{Env, Function, Invocation};
use harness::postgres::{self, RETENTION, ROLES};
use serde_json::json;
use tokio::sync::Mutex;
use tokio_postgres::Client;

pub const MIGRATE: &str = "flag_schedules_migrate";
const API: &str = "flag_schedules_api";
const PROCESSOR: &str = "flag_schedules_processor";
const READER: &str = "flag_schedules_reader";

/// Two sessions that alter the same role at the same moment get in each other's way.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Runs the file in a database, as this client's role.
pub async fn run_file(client: &Client) {
    let _turn = ONE_AT_A_TIME.lock().await;
    client.batch_execute(ROLES).await.unwrap_or_else(|error| panic!("roles.sql: {error:?}"));
}

/// Runs the optional file that creates the role of retention.
pub async fn run_retention_file(client: &Client) {
    let _turn = ONE_AT_A_TIME.lock().await;
    client.batch_execute(RETENTION).await.unwrap_or_else(|error| panic!("retention.sql: {error:?}"));
}

/// `migrate`, run as its role.
pub async fn migrate(database: &Database) -> Invocation {
    let env = Env::new().set("DATABASE_URL", database.url_as(MIGRATE));
    let migrate = Function::start("migrate", env).await.unwrap();
    migrate.invoke(&json!({})).await
}

/// A connection as a role, with all that the role has.
pub async fn connect_as(database: &Database, role: &str) -> Client {
    postgres::connect(&database.url_as(role)).await.unwrap_or_else(|error| panic!("{role}: {error}"))
}

/// The service on a database, each function as its role. The tests' own role may do there what it likes.
pub async fn service(database: Database) -> Api {
    let superuser = database.connect_as_superuser().await;
    let open = format!("grant all on all tables in schema public to {}", postgres::SERVICE_ROLE);
    superuser.batch_execute(&open).await.unwrap();
    let url = database.url();
    Api::with().as_roles(&url).database(database).start().await
}

/// A database as a first deployment leaves it.
pub async fn deployed() -> Database {
    let database = Database::empty().await;
    run_file(&database.connect_as_superuser().await).await;
    migrate(&database).await.value();
    database
}

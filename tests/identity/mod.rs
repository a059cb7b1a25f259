//! Who is at the other end of a database connection: the server by its certificate, the service by an IAM token.

mod authority;
mod database_settings;
mod iam;
mod iam_tokens;
mod tls;
mod tls_front;

use std::net::SocketAddr;
use std::path::Path;

use authority::Authority;
use harness::api::Api;
use harness::database::Database;
use tls_front::Front;
use tokio_postgres::Config;

/// The host that the certificates of these tests are for; it is this machine.
const HOST: &str = "localhost";

/// The address of the tests' PostgreSQL, and the password of the service's role there.
fn server_of(database: &Database) -> (SocketAddr, String) {
    let config: Config = database.url().parse().unwrap();
    let password = String::from_utf8_lossy(config.get_password().unwrap()).into_owned();
    (SocketAddr::from(([127, 0, 0, 1], config.get_ports()[0])), password)
}

/// A database's address through a front; with `sslmode`, for a host of this machine may go without TLS.
fn through(front: &Front, database: &Database, host: &str, credentials: &str) -> String {
    let (port, name) = (front.port(), database.name());
    // The address beside the name keeps the resolver of the machine out of it.
    format!("postgres://{credentials}@{host}:{port}/{name}?sslmode=verify-full&hostaddr=127.0.0.1")
}

/// The service on a database at this address, trusting this file's certificates besides the usual ones.
async fn service(database: Database, url: &str, trusted: Option<&Authority>) -> Api {
    let file = trusted.map(|authority| authority.file().display().to_string());
    let api = Api::with()
        .database(database)
        .env_everywhere("DATABASE_URL", Some(url))
        .env_everywhere("DATABASE_CA_FILE", file.as_deref())
        .start()
        .await;
    api.flag("a", "production").await;
    api
}

/// Python with the packages of `.venv`.
fn python() -> std::path::PathBuf {
    Path::join(&harness::settings::workspace(), ".venv/bin/python")
}

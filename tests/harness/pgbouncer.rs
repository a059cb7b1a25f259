//! PgBouncer in transaction mode before a database: server connections pass from client to client, transaction by
//! transaction, with whatever a client has left in them.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{postgres, settings};
use common::error::{Doing, Error, Result};
use local_stack::guard::{Guarded, Spec, User, last_lines};
use local_stack::scratch::{Scratch, own, unprivileged_user};
use tokio::net::TcpStream;

/// Who may come through it, all with the password of the database's URL.
fn users() -> impl Iterator<Item = &'static str> {
    [postgres::SERVICE_ROLE].into_iter().chain(postgres::DEPLOYED_ROLES)
}

/// A running PgBouncer. Dropping it stops it.
#[derive(Debug)]
pub struct PgBouncer {
    url: String,
    _guarded: Guarded,
    _scratch: Scratch,
}

impl PgBouncer {
    /// Starts one before the database of a URL, with so many server connections for each role.
    pub async fn before(url: &str, pool_size: usize) -> Result<Self> {
        let config: tokio_postgres::Config = url.parse().doing(|| "cannot read the URL".to_owned())?;
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let password = String::from_utf8_lossy(config.get_password().unwrap_or_default()).into_owned();
        let program = program()?;
        let user = unprivileged_user()?;
        let scratch = Scratch::create(user)?;
        for _ in 0..10 {
            let own_port = postgres::free_port()?;
            let users: String = users().map(|user| format!("\"{user}\" \"{password}\"\n")).collect();
            write(&scratch.path().join("users"), &users, user)?;
            let folder = scratch.path().display();
            let ini = format!(
                "[databases]\n* = host=127.0.0.1 port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {own_port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {folder}/users\n\
                 pool_mode = transaction\ndefault_pool_size = {pool_size}\nserver_login_retry = 1\n"
            );
            write(&scratch.path().join("ini"), &ini, user)?;
            let mut guarded = Guarded::start(Spec {
                what: "PgBouncer".to_owned(),
                program: program.clone(),
                args: vec![scratch.path().join("ini").display().to_string()],
                env: BTreeMap::new(),
                cwd: scratch.path().to_owned(),
                stop_with: "INT",
                log: scratch.path().join("log"),
                orphans: vec![scratch.path().to_owned()],
                user,
            })?;
            let listens = async || TcpStream::connect(("127.0.0.1", own_port)).await.ok();
            match guarded.until(Duration::from_secs(30), listens).await {
                Ok(_) => {
                    let url = url.replace(&format!(":{port}/"), &format!(":{own_port}/"));
                    return Ok(Self { url, _guarded: guarded, _scratch: scratch });
                }
                // Another program has taken the port meanwhile: then the next one.
                Err(_) if last_lines(guarded.log(), 5).contains("in use") => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new("PgBouncer found no free port ten times in a row"))
    }

    /// The database's URL through it.
    pub fn url(&self) -> String {
        self.url.clone()
    }
}

/// Debian has it in `/usr/sbin`, which is not everybody's `PATH`.
fn program() -> Result<PathBuf> {
    let path = settings::path();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"]);
    folders.map(|folder| Path::new(folder).join("pgbouncer")).find(|program| program.exists()).ok_or_else(|| {
        Error::new("PgBouncer is missing: install it (Debian and Ubuntu: apt-get install pgbouncer; macOS: brew install pgbouncer)")
    })
}

fn write(path: &Path, text: &str, user: Option<User>) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path).doing(cannot)?;
    file.write_all(text.as_bytes()).doing(cannot)?;
    user.map_or(Ok(()), |user| own(path, user))
}

//! A real PostgreSQL server on a free loopback port, that ends with its owner.

mod programs;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

pub use programs::bin_dir;

use crate::guard::{Guarded, Spec, User};
use crate::scratch::{Scratch, own, unprivileged_user};
use common::error::{Doing, Error, Result};
use common::{background, settings};

/// The role that owns the databases, and is no superuser; most tests use it for the service too.
pub const SERVICE_ROLE: &str = "flag_schedules";

/// The roles of a deployment, one for each kind of function.
pub const DEPLOYED_ROLES: [&str; 4] =
    ["flag_schedules_migrate", "flag_schedules_api", "flag_schedules_processor", "flag_schedules_reader"];
/// The file that creates them, with their limits. Idempotent.
pub const ROLES: &str = include_str!("../../../../migrations/roles/roles.sql");
/// The role that deletes old schedules, and the file that creates it. Idempotent, too.
pub const RETENTION_ROLE: &str = "flag_schedules_retention";
pub const RETENTION: &str = include_str!("../../../../migrations/roles/retention.sql");
/// What follows it here: the role that owns the databases has the limits of those that answer requests, and their search path.
const AFTER_ROLES: &str = "do $$
    declare setting text;
    begin
        foreach setting in array
            (select setconfig from pg_db_role_setting where setrole = 'flag_schedules_api'::regrole and setdatabase = 0)
        loop
            execute format('alter role flag_schedules set %I = %L', split_part(setting, '=', 1), split_part(setting, '=', 2));
        end loop;
    end $$;
    alter role flag_schedules set search_path = public, pg_temp";

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether a crash of the machine may lose data: for tests. A crash of the server alone never does.
    pub careless: bool,
    /// Where the server's log goes; by default beside its data, gone with it.
    pub log: Option<PathBuf>,
    /// More settings, `name=value`.
    pub settings: Vec<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// Connections are ended, everything is written: `pg_ctl stop -m fast`.
    Fast,
    /// Like a crash; the next start recovers: `pg_ctl stop -m immediate`.
    Immediate,
}

/// A running server. Dropping it stops it and removes its data.
#[derive(Debug)]
pub struct Server {
    guarded: Option<Guarded>,
    scratch: Scratch,
    user: Option<User>,
    bin: PathBuf,
    log: PathBuf,
    settings: Vec<String>,
    port: u16,
    password: String,
}

impl Server {
    /// Makes an empty cluster with the service's role and starts it.
    pub async fn start(options: Options) -> Result<Self> {
        let user = unprivileged_user()?;
        let scratch = Scratch::create(user)?;
        let path = scratch.path().to_owned();
        let bin = programs::reachable(&bin_dir()?, user, &path)?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        init(&bin, &path, user, &password).await?;

        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "max_connections=300".to_owned(),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
        ];
        if options.careless {
            settings.extend(["fsync=off".to_owned(), "full_page_writes=off".to_owned()]);
        }
        settings.extend(options.settings);
        let log = options.log.unwrap_or_else(|| path.join("postgres.log"));
        let mut server = Self { guarded: None, scratch, user, bin, log, settings, port: 0, password };
        server.run_on_a_free_port().await?;
        server.create_roles().await?;
        Ok(server)
    }

    /// Another program may take the port between our look and the server's start: then the next one.
    async fn run_on_a_free_port(&mut self) -> Result<()> {
        for _ in 0..10 {
            self.port = free_port()?;
            match self.run().await {
                Err(error) if error.to_string().contains("could not create any TCP/IP sockets") => {}
                other => return other,
            }
        }
        Err(Error::new("PostgreSQL found no free port ten times in a row"))
    }

    /// Starts the server process on its port and waits until it answers to our password, which a stranger on the same port would not.
    async fn run(&mut self) -> Result<()> {
        let mut args = vec!["-D".to_owned(), self.data().display().to_string()];
        let port = format!("port={}", self.port);
        args.extend(
            self.settings.iter().chain([&port]).flat_map(|setting| ["-c".to_owned(), setting.clone()]),
        );
        let mut guarded = Guarded::start(Spec {
            what: "PostgreSQL".to_owned(),
            program: self.bin.join("postgres"),
            args,
            env: BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]),
            cwd: self.scratch.path().to_owned(),
            stop_with: "INT",
            log: self.log.clone(),
            orphans: vec![self.scratch.path().to_owned()],
            user: self.user,
        })?;
        let answers = async || connect(&self.url("postgres")).await.ok();
        guarded.until(Duration::from_secs(60), answers).await?;
        self.guarded = Some(guarded);
        Ok(())
    }

    async fn create_roles(&self) -> Result<()> {
        let client = connect(&self.url("postgres")).await?;
        let mut sql = format!(
            "create role {SERVICE_ROLE} login password '{}'; {ROLES}; {AFTER_ROLES}; {RETENTION};",
            self.password
        );
        for role in DEPLOYED_ROLES.into_iter().chain([RETENTION_ROLE]) {
            sql.push_str(&format!("alter role {role} password '{}';", self.password));
        }
        client.batch_execute(&sql).await.doing(|| "cannot create the service's roles".to_owned())
    }

    /// Creates a database that the service's role owns.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        let client = connect(&self.url("postgres")).await?;
        let sql = format!("create database {name} owner {SERVICE_ROLE}");
        client.batch_execute(&sql).await.doing(|| format!("cannot create the database {name}"))
    }

    /// Creates a database as a deployment has it: `roles.sql` has been run there. The owner may do what `migrate` may, so
    /// that it can add flags to the tables.
    pub async fn create_database_with_roles(&self, name: &str) -> Result<()> {
        self.create_database(name).await?;
        let client = connect(&self.url(name)).await?;
        let sql = format!("{ROLES}; grant flag_schedules_migrate to {SERVICE_ROLE};");
        client.batch_execute(&sql).await.doing(|| format!("cannot prepare the database {name}"))
    }

    /// The superuser's URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The service's URL of a database.
    pub fn service_url(&self, database: &str) -> String {
        format!("postgres://{SERVICE_ROLE}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The password of all roles.
    pub fn password(&self) -> &str {
        &self.password
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn postmaster(&self) -> Option<u32> {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }

    /// Waits until the server ends without having been stopped. Cancel-safe.
    pub async fn ended(&mut self) -> Error {
        match &mut self.guarded {
            Some(guarded) => guarded.ended().await,
            None => Error::new("PostgreSQL is stopped"),
        }
    }

    /// Stops the server; its data stay for `start_again`.
    pub async fn stop(&mut self, how: Stop) {
        let Some(mut guarded) = self.guarded.take() else { return };
        if how == Stop::Immediate
            && let Some(postmaster) = self.postmaster()
        {
            common::process::signal(postmaster, rustix::process::Signal::QUIT);
            let _ = guarded.ended().await;
        }
        guarded.stop().await;
    }

    /// Starts a stopped server with its data, on the same port.
    pub async fn start_again(&mut self) -> Result<()> {
        self.run().await
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }
}

/// Runs `initdb`: password authentication for everybody, as in production.
async fn init(bin: &Path, scratch: &Path, user: Option<User>, password: &str) -> Result<()> {
    let secret = scratch.join("password");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&secret)
        .doing(|| format!("cannot write {}", secret.display()))?;
    file.write_all(password.as_bytes()).doing(|| format!("cannot write {}", secret.display()))?;
    if let Some(user) = user {
        own(&secret, user)?;
    }

    let log = scratch.join("initdb.log");
    let output = || {
        File::options().create(true).append(true).open(&log).doing(|| "cannot write initdb.log".to_owned())
    };
    let mut command = std::process::Command::new(bin.join("initdb"));
    command
        .args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"])
        .args(["--no-sync", "--no-instructions", "-D"])
        .arg(scratch.join("data"))
        .arg(format!("--pwfile={}", secret.display()))
        .env_clear()
        .envs([("PATH", settings::path()), ("LC_ALL", "C".to_owned()), ("TZ", "UTC".to_owned())])
        .current_dir(scratch)
        .stdin(Stdio::null())
        .stdout(output()?)
        .stderr(output()?);
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    let status = tokio::process::Command::from(command).kill_on_drop(true).status().await;
    let status = status.doing(|| format!("cannot run {}", bin.join("initdb").display()))?;
    let _ = std::fs::remove_file(&secret);
    match status.success() {
        true => Ok(()),
        false => Err(Error::new(format!("initdb failed: {}", crate::guard::last_lines(&log, 3)))),
    }
}

/// A port that nobody uses at the moment.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    Ok(listener.doing(|| "cannot find a free port".to_owned())?.port())
}

/// Connects to a server on this machine, without TLS.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .doing(|| format!("cannot connect to the database {}", without_password(url)))?;
    background::spawn(connection);
    Ok(client)
}

/// The address of [`Server::service_url`] for one of [`DEPLOYED_ROLES`], which all have the same password here.
pub fn as_role(url: &str, role: &str) -> String {
    url.replacen(&format!("//{SERVICE_ROLE}:"), &format!("//{role}:"), 1)
}

/// A database URL fit for being shown: scheme, host and database, nothing of its credentials or parameters.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "not a URL".to_owned() };
    let place = rest.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{}", place.split('?').next().unwrap_or_default())
}

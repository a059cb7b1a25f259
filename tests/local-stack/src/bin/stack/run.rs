//! `stack run`: the whole service on this machine, until Ctrl-C.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use cloudwatch_stand_in::LogGroup;
use cloudwatch_stand_in::logs_client::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use common::error::Doing;
use common::listener::Listener;
use common::{Error, Result};
use local_stack::emulator::Emulator;
use local_stack::endpoints::AUDITING;
use local_stack::front::authorizer::Authorizer;
use local_stack::front::cors::Cors;
use local_stack::front::{Explorer, Front, Gateway};
use local_stack::function_variables::{FunctionVariables, database_urls};
use local_stack::postgres::{self, Options, Server, Stop};
use local_stack::tokens::{AUDIENCE, ISSUER, Keys};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

use crate::events::Follow;
use crate::files::Files;
use crate::interrupt::Interrupt;
use crate::run_settings::Settings;
use crate::watch::{Address, Functions};
use crate::{complain, remote, say, welcome};

const LOG_GROUP: &str = "/flag-schedules/audit";
const DEMO_FLAGS: [(&str, &str); 2] =
    [("new-checkout", "The new checkout pages"), ("dark-mode", "A dark colour scheme")];

/// Runs until a signal comes (exit code 0) or a part of it fails.
pub async fn run() -> Result<ExitCode> {
    let settings = Settings::read()?;
    let mut interrupt = Interrupt::expect()?;
    let files = Files::claim(settings.port)?;
    let mut parts = Parts::default();

    let code = tokio::select! {
        error = parts.live(&settings, &files) => complain(&error),
        _ = interrupt.wait() => {
            say("\nstopping");
            ExitCode::SUCCESS
        }
    };
    parts.stop().await;
    Ok(code)
}

/// What is running; empty until it is.
#[derive(Default)]
struct Parts {
    postgres: Option<Server>,
    logs: Option<Emulator>,
    functions: Option<Functions>,
    front: Option<Front>,
    follow: Option<Follow>,
    forwards: Vec<Listener>,
}

impl Parts {
    /// Brings everything up, then ticks and shows events until something fails.
    async fn live(&mut self, settings: &Settings, files: &Files) -> Error {
        let address = Address { url: format!("http://127.0.0.1:{}", settings.port) };
        let (event, follow) = match self.bring_up(settings, files, &address).await {
            Ok(event) => (event, &mut self.follow),
            Err(error) => return error,
        };
        let ended = ended(&mut self.postgres, &mut self.logs, &mut self.functions);
        tokio::select! {
            error = ended => error,
            error = show(follow) => error,
            () = tick(&address, settings.tick, &event) => Error::new("the ticks ended"),
        }
    }

    /// Gives the event that a tick sends.
    async fn bring_up(&mut self, settings: &Settings, files: &Files, address: &Address) -> Result<Value> {
        let tick_file = common::settings::workspace().join("events/tick.json");
        let event =
            std::fs::read_to_string(&tick_file).doing(|| format!("cannot read {}", tick_file.display()))?;
        let event = serde_json::from_str(&event).doing(|| format!("{} is not JSON", tick_file.display()))?;
        let database_url = self.start_servers(settings, files).await?;
        // API Gateway's authorizer accepts RSA signatures only.
        let keys = Keys::for_algorithm("RS256");
        let endpoint = self.logs.as_ref().map(|logs| logs.endpoint().to_owned()).unwrap_or_default();

        say("starting the functions");
        let aws = [
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY.to_owned()),
            ("AUDIT_LOG_GROUP", LOG_GROUP.to_owned()),
        ];
        let mut env = vec![
            ("AUTH_JWKS", keys.jwks().to_string()),
            ("AUTH_ISSUER", ISSUER.to_owned()),
            ("AUTH_AUDIENCE", AUDIENCE.to_owned()),
            ("RELEASE_NAME", "local".to_owned()),
            // What was asked for is seen at its time, however soon that is.
            ("TICK_WATCH", "always".to_owned()),
        ];
        env.extend(aws.clone());
        if common::settings::get("DATABASE_URL").is_none() {
            env.push(("DATABASE_PREPARE", "on".to_owned()));
        }
        env.extend(common::settings::get("DATABASE_CA_FILE").map(|file| ("DATABASE_CA_FILE", file)));
        let env = FunctionVariables {
            common: env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            // Whoever brings a database decides who may do what there.
            database_urls: database_urls(|role| match &self.postgres {
                Some(_) => postgres::as_role(&database_url, role),
                None => database_url.clone(),
            }),
        };
        self.forward(settings.containers).await?;
        let functions = self.functions.insert(Functions::start(&env, files.folder()).await?);
        let url = functions.url().to_owned();

        let admin = keys.token().expires_in(chrono::Duration::hours(12));
        let second_admin = admin.clone().user("admin-2").claim("email", "second-admin@example.test").sign();
        let (admin, user) = (admin.sign(), admin.user("user-1").groups(&[]).sign());
        let gateway = Gateway {
            cors: Cors::allowing(settings.cors_allowed_origins.clone()),
            authorizer: settings.gateway_authorizer.then(|| Authorizer::of(&keys)),
        };
        let explorer = Explorer::signed_in(admin.clone())?;
        self.front = Some(Front::start(settings.port, url, gateway, explorer).await?);
        let ended = ended(&mut self.postgres, &mut self.logs, &mut self.functions);
        tokio::select! {
            ready = make_ready(address, &database_url, &admin) => ready?,
            error = ended => return Err(error),
        }

        let mut values = vec![
            ("API_URL", address.url.clone()),
            ("ADMIN_TOKEN", admin.clone()),
            ("SECOND_ADMIN_TOKEN", second_admin),
            ("USER_TOKEN", user),
            ("DATABASE_URL", database_url),
        ];
        values.extend(aws);
        // The AWS CLI reads this one.
        values.push(("AWS_DEFAULT_REGION", REGION.to_owned()));
        values.push(("PSQL", postgres::bin_dir()?.join("psql").display().to_string()));
        files.write_sam_env(&env.sam_env())?;
        files.write_env(&values)?;
        let containers = settings.containers.is_none().then(docker_address).flatten();
        say(&welcome::text(&address.url, &admin, &files.env(), files.folder(), settings.tick, containers));
        if !files.is_first() {
            say(".local/env belongs to another run of this clone; this one has the file named above\n");
        }
        Ok(event)
    }

    /// PostgreSQL, or the one that is given, and the log group; gives the URL of the database's owner.
    async fn start_servers(&mut self, settings: &Settings, files: &Files) -> Result<String> {
        let orphans = files.settings();
        let logs = Emulator::start(files.folder(), &orphans);
        let database_url = if let Some(url) = &settings.database_url {
            remote::connect(url).await?;
            say("starting the CloudWatch Logs emulator");
            self.logs = Some(logs.await?);
            url.clone()
        } else {
            say("starting PostgreSQL and the CloudWatch Logs emulator");
            let log = files.folder().join("postgres.log");
            let _ = std::fs::remove_file(&log);
            let server = Server::start(Options { log: Some(log), ..Options::default() });
            let (server, logs) = tokio::try_join!(server, logs)?;
            self.logs = Some(logs);
            let server = self.postgres.insert(server);
            server.create_database_with_roles("flag_schedules").await?;
            server.service_url("flag_schedules")
        };
        if let Some(logs) = &self.logs {
            self.follow = Some(Follow::new(LogGroup::create(logs.client(), LOG_GROUP, &AUDITING).await?));
        }
        Ok(database_url)
    }

    /// Lets containers reach our database and the emulator at `host`, each on its own port.
    async fn forward(&mut self, host: Option<IpAddr>) -> Result<()> {
        let Some(host) = host else { return Ok(()) };
        let database = self.postgres.as_ref().map(Server::port);
        let logs = self.logs.as_ref().and_then(|logs| logs.endpoint().rsplit(':').next()?.parse().ok());
        for port in database.into_iter().chain(logs) {
            let at = SocketAddr::from((host, port));
            let forward = move |mut client| async move {
                if let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            };
            self.forwards.push(Listener::start(at, forward).await?);
        }
        Ok(())
    }

    /// In the order in which they need each other; shows what the functions still sent.
    async fn stop(self) {
        if let Some(front) = self.front {
            front.stop().await;
        }
        if let Some(functions) = self.functions {
            functions.stop().await;
        }
        if let Some(mut follow) = self.follow {
            // The emulator may be what has failed.
            follow.news().await.unwrap_or_default().iter().for_each(|line| say(line));
        }
        if let Some(mut postgres) = self.postgres {
            postgres.stop(Stop::Fast).await;
        }
        if let Some(logs) = self.logs {
            logs.stop().await;
        }
    }
}

/// Where containers reach a Linux machine: the address of docker0. None without Docker, or where `localhost` is enough.
fn docker_address() -> Option<IpAddr> {
    let asked =
        std::process::Command::new("ip").args(["-4", "-o", "addr", "show", "docker0"]).output().ok()?;
    let line = String::from_utf8(asked.stdout).ok()?;
    line.split_once(" inet ")?.1.split('/').next()?.parse().ok()
}

/// Migrates, seeds, and has every endpoint answer once.
async fn make_ready(address: &Address, database_url: &str, admin: &str) -> Result<()> {
    address.invoke("migrate", "{}").await?;
    let client = remote::connect(database_url).await?;
    for (flag, description) in DEMO_FLAGS {
        let sql = "insert into feature_flags (flag_key, environment, description)
                   select $1, 'production', $2
                   where not exists (select from feature_flags where flag_key = $1 and environment = 'production')";
        client
            .execute(sql, &[&flag, &description])
            .await
            .doing(|| format!("cannot create the demo flag {flag}"))?;
    }
    address.warm(admin, DEMO_FLAGS[0].0).await
}

/// Waits until one of the parts ends by itself.
async fn ended(
    postgres: &mut Option<Server>,
    logs: &mut Option<Emulator>,
    functions: &mut Option<Functions>,
) -> Error {
    let postgres = async {
        match postgres {
            Some(server) => server.ended().await,
            None => std::future::pending().await,
        }
    };
    let logs = async {
        match logs {
            Some(logs) => logs.ended().await,
            None => std::future::pending().await,
        }
    };
    let functions = async {
        match functions {
            Some(functions) => functions.ended().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        error = postgres => error,
        error = logs => error,
        error = functions => error,
    }
}

/// Invokes the processor as EventBridge would, once more as soon as the last tick has ended. A failing tick is told once, and that
/// it works again.
async fn tick(address: &Address, every: Duration, event: &Value) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let mut event = event.clone();
        event["time"] = json!(common::clock::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
        match address.invoke("schedule-processor", &event.to_string()).await {
            Err(error) if !failing => say(&format!("the tick failed, and will be tried again: {error}")),
            Ok(_) if failing => say("the tick works again"),
            _ => continue,
        }
        failing = !failing;
    }
}

/// Shows audit events. An emulator that does not answer is noticed by its end.
async fn show(follow: &mut Option<Follow>) -> Error {
    let Some(follow) = follow else { return Error::new("there is no log group") };
    loop {
        follow.news().await.unwrap_or_default().iter().for_each(|line| say(line));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

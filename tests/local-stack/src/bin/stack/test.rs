//! `stack test`: the servers that the integration tests need, for as long as one command runs.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use cloudwatch_stand_in::logs_client::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use common::error::Doing;
use common::process::signal_group;
use common::settings::{
    TEST_DATABASE_URL, TEST_LOGS_ENDPOINT, TEST_SERVICE_DATABASE_URL, TEST_TEMPLATE_DATABASE,
};
use common::{Error, Result};
use lambda_stand_in::{Env, Launch};
use local_stack::emulator::Emulator;
use local_stack::postgres::{Options, Server, Stop};
use local_stack::scratch::Scratch;
use rustix::process::Signal;
use tokio::process::{Child, Command};

use crate::interrupt::Interrupt;

const TEMPLATE: &str = "migrated";

/// Runs `command` and gives its exit code.
pub async fn test(command: &[String]) -> Result<ExitCode> {
    let mut interrupt = Interrupt::expect()?;
    let scratch = Scratch::create(None)?;
    let folder = [scratch.path().to_owned()];
    let postgres = Server::start(Options { careless: true, ..Options::default() });
    let logs = Emulator::start(scratch.path(), &folder);
    let servers = async { tokio::try_join!(postgres, logs) };
    let (mut postgres, logs) = tokio::select! {
        servers = servers => servers?,
        code = interrupt.wait() => return Ok(code.into()),
    };

    let code = tokio::select! {
        code = migrate_and_run(command, &postgres, &logs) => code,
        code = interrupt.wait() => Ok(code.into()),
    };
    tokio::join!(postgres.stop(Stop::Fast), logs.stop());
    code
}

async fn migrate_and_run(command: &[String], postgres: &Server, logs: &Emulator) -> Result<ExitCode> {
    make_template(postgres).await?;
    let (program, args) =
        command.split_first().ok_or_else(|| Error::new("usage: stack test -- COMMAND..."))?;
    let child = Command::new(program)
        .args(args)
        .env(TEST_DATABASE_URL, postgres.url("postgres"))
        .env(TEST_SERVICE_DATABASE_URL, postgres.service_url("postgres"))
        .env(TEST_TEMPLATE_DATABASE, TEMPLATE)
        .env(TEST_LOGS_ENDPOINT, logs.endpoint())
        .stdin(Stdio::null())
        // A group of its own, so that all it started can be ended with it.
        .process_group(0)
        .spawn()
        .doing(|| format!("cannot run {program}"))?;
    let mut tree = Tree { child };
    let status = tree.child.wait().await.doing(|| format!("cannot wait for {program}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The database that every test's own is cloned from, made by the function that makes the real one.
async fn make_template(postgres: &Server) -> Result<()> {
    postgres.create_database(TEMPLATE).await?;
    let env = Env::new()
        .set("DATABASE_URL", postgres.service_url(TEMPLATE))
        .set("AWS_REGION", REGION)
        .set("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .set("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    let migrate = Launch::of("migrate").env(env).timeout(Duration::from_secs(60)).start().await?;
    let invocation = migrate.invoke(&serde_json::json!({})).await;
    let lambda_stand_in::Outcome::Ok(_) = invocation.outcome else {
        let logs = migrate.logs();
        let tail = logs[logs.len().saturating_sub(10)..].join("\n");
        return Err(Error::new(format!(
            "the function `migrate` failed: {:?}; its last lines:\n{tail}",
            invocation.outcome
        )));
    };
    // A database with connections cannot be cloned.
    migrate.stop().await;
    Ok(())
}

/// A command with all that it started; ended together when nobody waits any more.
struct Tree {
    child: Child,
}

impl Drop for Tree {
    fn drop(&mut self) {
        let Some(leader) = self.child.id() else { return };
        signal_group(leader, Signal::TERM);
        let deadline = std::time::Instant::now() + Duration::from_secs(2);
        while matches!(self.child.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        signal_group(leader, Signal::KILL);
    }
}

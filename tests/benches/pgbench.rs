//! `pgbench` with the service's own statement of a create: what the server can do when nothing else is done.

use std::path::PathBuf;
use std::time::Duration;

use harness::api::Api;
use harness::clock;
use harness::postgres::bin_dir;
use harness::scratch::Scratch;
use serde_json::Value;
use tokio::process::Command;

use crate::statements::CREATE;

/// How a statement is sent: parsed and planned each time, or once for each connection.
#[derive(Debug, Clone, Copy)]
pub enum Protocol {
    Extended,
    Prepared,
}

/// What the statement's parameters are, one after the other.
const PARAMETERS: [&str; 13] = [
    ":flag::text",
    "'production'::text",
    "(:time::text || :schedule::text)::uuid",
    ":at::timestamptz",
    "null::timestamptz",
    ":updates::jsonb",
    "null::jsonb",
    "'first users'::text",
    "'admin-1'::text",
    "null::text",
    "(:time::text || :event::text)::uuid",
    ":context::jsonb",
    "false",
];
/// Ids in the order of time, as the service makes them: the digits of a UUID, 16 from the time and a number, 16 from the client.
const IDS: &str = r"\set number :number + 1
\set time :number * 10000 + 7000
\set schedule 8000000000000000 + :client_id
\set event 9000000000000000 + :client_id
";

/// A script with what it needs of one service.
pub struct Pgbench {
    program: PathBuf,
    scratch: Scratch,
    flag: &'static str,
    context: Value,
}

/// What a run has done.
pub struct Run {
    pub done: i64,
    /// The time of the run by the transactions of all clients.
    pub each: Duration,
}

impl Pgbench {
    /// Creates schedules of a flag; there must be an event in the outbox.
    pub async fn creates(api: &Api, flag: &'static str) -> Self {
        let scratch = Scratch::create(None).unwrap_or_else(|error| panic!("{error}"));
        std::fs::write(scratch.path().join("create.sql"), script()).expect("a file");
        let bin = bin_dir().unwrap_or_else(|error| panic!("{error}"));
        let client = api.database.connect().await;
        let row = client.query_one("select context from audit_outbox limit 1", &[]).await.expect("an event");
        Self { program: bin.join("pgbench"), scratch, flag, context: row.get(0) }
    }

    /// As many clients as told, at full speed.
    pub async fn run(&self, url: &str, protocol: Protocol, clients: usize, length: Duration) -> Run {
        let now = clock::now();
        let variables = [
            format!("flag={}", self.flag),
            format!("at={}", (now + chrono::TimeDelta::hours(1)).to_rfc3339()),
            r#"updates={"enabled": true}"#.to_owned(),
            format!("context={}", self.context),
            // Twelve digits.
            format!("number={}", now.timestamp_millis() % 100_000_000_000 + 100_000_000_000),
        ];
        let mut command = Command::new(&self.program);
        let protocol = match protocol {
            Protocol::Extended => "extended",
            Protocol::Prepared => "prepared",
        };
        command.args(["--no-vacuum", "--protocol", protocol, "--jobs", "2", "--file", "create.sql"]);
        command.args(["--client", &clients.to_string(), "--time", &length.as_secs().to_string()]);
        command.args(variables.iter().flat_map(|variable| ["--define", variable]));
        command.arg(url).current_dir(self.scratch.path()).kill_on_drop(true);
        let output = command.output().await.expect("pgbench runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let number = |label: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(label));
            rest.and_then(|rest| rest.split_whitespace().next()).unwrap_or_else(|| panic!("no {label}{text}"))
        };
        let rate: f64 = number("tps = ").parse().expect("a rate");
        Run {
            done: number("number of transactions actually processed: ").parse().expect("a number"),
            each: Duration::from_secs_f64(1.0 / rate),
        }
    }
}

/// The statement without its comments, for what begins with a colon there is no variable.
fn script() -> String {
    let lines: Vec<&str> = CREATE.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    // From the last one, for `$13` begins with `$1`.
    let parameters = PARAMETERS.iter().enumerate().rev();
    let statement = parameters.fold(lines.join("\n"), |statement, (index, value)| {
        statement.replace(&format!("${}", index + 1), value)
    });
    format!("{IDS}{statement};\n")
}

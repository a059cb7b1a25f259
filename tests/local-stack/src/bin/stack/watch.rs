//! The functions behind Lambda's invoke API: `cargo lambda watch` in front of the binaries that `make run` has built.
//!
//! The server hands events out and starts no functions (`--only-lambda-apis`): left to itself it runs each with
//! `cargo run`, which waits for any other build in this clone, lets functions inherit its environment, and keeps silent
//! about one that was killed. Its `--timeout` must not be used: it also ends a function's wait for its next event.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use common::error::Doing;
use common::http::{self, Answer};
use common::{Error, Result, settings};
use hyper::Method;
use lambda_stand_in::{binary, lambda_variables};
use local_stack::endpoints::FUNCTIONS;
use local_stack::function_variables::FunctionVariables;
use local_stack::guard::{Guarded, Spec};
use local_stack::postgres::free_port;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long anything may take that is asked of a function here; a tick may wait for a minute for what comes due.
const LIMIT: Duration = Duration::from_secs(90);

/// The running server and the functions behind it.
pub struct Functions {
    server: Guarded,
    functions: Vec<Guarded>,
    url: String,
}

impl Functions {
    /// Starts the server on a free port, and once it listens the functions, each with its variables and nothing of our
    /// own environment.
    pub async fn start(env: &FunctionVariables, folder: &Path) -> Result<Self> {
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let mut server = Guarded::start(server(port, folder)?)?;
        let listens = async || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok();
        server.until(LIMIT, listens).await?;
        let log = folder.join("functions.log");
        // One run, one log.
        let _ = std::fs::remove_file(&log);
        let functions = FUNCTIONS.map(|name| -> Result<Guarded> {
            // The address that the server gives to functions which it starts itself.
            let mut variables = lambda_variables(name, &format!("{url}/.rt/{name}"));
            variables.extend(env.of(name));
            Guarded::start(Spec {
                what: format!("the function {name}"),
                program: binary(name)?,
                args: Vec::new(),
                env: variables,
                cwd: folder.to_owned(),
                stop_with: "TERM",
                log: log.clone(),
                orphans: Vec::new(),
                user: None,
            })
        });
        Ok(Self { server, functions: functions.into_iter().collect::<Result<_>>()?, url })
    }

    /// Where they can be invoked.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until the server or one of the functions ends by itself. Cancel-safe.
    pub async fn ended(&mut self) -> Error {
        loop {
            let mut all = std::iter::once(&mut self.server).chain(&mut self.functions);
            if let Some(ended) = all.find_map(|guarded| guarded.has_ended().then_some(guarded)) {
                return ended.ended().await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stops the functions and the server.
    pub async fn stop(self) {
        for function in self.functions {
            function.stop().await;
        }
        self.server.stop().await;
    }
}

fn server(port: u16, folder: &Path) -> Result<Spec> {
    let log = folder.join("watch.log");
    let _ = std::fs::remove_file(&log);
    let port = port.to_string();
    let mut args = vec!["lambda", "watch", "--only-lambda-apis", "--disable-cors"];
    args.extend(["--invoke-address", "127.0.0.1", "--invoke-port", &port]);
    // It asks cargo for the workspace.
    let of_cargo = |name: &str| name == "HOME" || name.starts_with("CARGO") || name.starts_with("RUST");
    Ok(Spec {
        what: "cargo lambda watch".to_owned(),
        program: settings::tool("cargo-lambda")?,
        args: args.into_iter().map(str::to_owned).collect(),
        env: settings::all().filter(|(name, _)| of_cargo(name)).collect(),
        cwd: settings::workspace(),
        stop_with: "TERM",
        log,
        orphans: Vec::new(),
        user: None,
    })
}

/// The API and the functions as a client reaches them.
#[derive(Clone)]
pub struct Address {
    /// `http://127.0.0.1:<PORT>`.
    pub url: String,
}

impl Address {
    pub async fn invoke(&self, function: &str, event: &str) -> Result<Value> {
        let url = format!("{}/2015-03-31/functions/{function}/invocations", self.url);
        let headers = [("content-type", "application/json")];
        let answer = http::send(Method::POST, &url, &headers, event.to_owned(), LIMIT).await?;
        if !answer.status.is_success() {
            return Err(Error::new(format!("the function {function} failed: {}", describe(&answer))));
        }
        serde_json::from_slice(&answer.body).doing(|| format!("the result of {function} is not JSON"))
    }

    /// One request to each endpoint, none of which changes anything: starts its function and shows that it answers.
    pub async fn warm(&self, token: &str, flag: &str) -> Result<()> {
        let schedules = format!("/api/admin/flags/{flag}/schedule");
        let none = format!("{schedules}/00000000-0000-4000-8000-000000000000");
        tokio::try_join!(
            self.probe(Method::POST, &schedules, token),
            self.probe(Method::GET, &schedules, token),
            self.probe(Method::DELETE, &none, token),
        )?;
        Ok(())
    }

    async fn probe(&self, method: Method, path: &str, token: &str) -> Result<()> {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let body = if method == Method::POST { "{}" } else { "" };
        let url = format!("{}{path}", self.url);
        let answer = http::send(method.clone(), &url, &headers, body, LIMIT).await?;
        // The flag is there and the token is good: all else is the function's trouble.
        match answer.status.as_u16() {
            200 | 400 | 404 => Ok(()),
            _ => Err(Error::new(format!("{method} {path} does not work: {}", describe(&answer)))),
        }
    }
}

/// Status and body in one line.
fn describe(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.text().split_whitespace().collect::<Vec<_>>().join(" "))
}

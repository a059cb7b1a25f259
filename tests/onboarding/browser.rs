//! A headless Chromium, driven by its chromedriver over WebDriver (W3C).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::guard::{Guarded, Spec};
use harness::http::send;
use harness::scratch::Scratch;
use harness::settings::path;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::LIMIT;

/// The browser's names on Debian, on other distributions, and of Google's own.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One window.
pub struct Browser {
    driver: Guarded,
    session: String,
    _scratch: Scratch,
}

impl Browser {
    /// Opens a window; none on a machine without Chromium and chromedriver.
    pub async fn open() -> Option<Self> {
        let (Some(browser), Some(driver)) = (BROWSERS.into_iter().find_map(program), program("chromedriver"))
        else {
            // Not `eprintln`, which shows nothing for a test that passes.
            let how = "install Chromium and chromedriver (Debian: apt-get install chromium chromium-driver)";
            let told = format!("skipped the test of the API explorer: {how}\n");
            let _ = std::io::stderr().write_all(told.as_bytes());
            return None;
        };
        let scratch = Scratch::create(None).unwrap();
        let log = scratch.path().join("chromedriver.log");
        let home = scratch.path().display().to_string();
        let mut driver = Guarded::start(Spec {
            what: "chromedriver".to_owned(),
            program: driver,
            args: vec!["--port=0".to_owned()],
            env: BTreeMap::from([("HOME".to_owned(), home.clone())]),
            cwd: scratch.path().to_owned(),
            stop_with: "TERM",
            log: log.clone(),
            orphans: vec![scratch.path().to_owned()],
            user: None,
        })
        .unwrap();
        let url =
            driver.until(LIMIT, async || announced(&log)).await.unwrap_or_else(|error| panic!("{error}"));

        // No other host can be reached, neither by a page nor by the browser itself.
        let mut args = vec![
            "--headless=new",
            "--disable-dev-shm-usage",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ];
        if rustix::process::getuid().is_root() {
            args.push("--no-sandbox");
        }
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": browser, "args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let opened = call(Method::POST, &format!("{url}/session"), &capabilities).await;
        let opened = opened.unwrap_or_else(|error| panic!("{}", driver.failure(&error)));
        let session = format!("{url}/session/{}", opened["sessionId"].as_str().unwrap());
        Some(Self { driver, session, _scratch: scratch })
    }

    pub async fn go(&self, url: &str) {
        self.post("url", &json!({"url": url})).await.unwrap();
    }

    /// The value of an expression in the page.
    pub async fn value(&self, expression: &str) -> Value {
        let body = json!({"script": format!("return {expression}"), "args": []});
        self.post("execute/sync", &body).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Clicks as soon as there is something to click.
    pub async fn click(&self, css: &str) {
        self.with(css, async |element| self.post(&format!("element/{element}/click"), &json!({})).await)
            .await;
    }

    /// The text that is seen, as soon as there is some.
    pub async fn text(&self, css: &str) -> String {
        let shown = self.with(css, async |element| {
            let url = format!("{}/element/{element}/text", self.session);
            let text = call(Method::GET, &url, &Value::Null).await?;
            if text == "" { Err("it is empty".to_owned()) } else { Ok(text) }
        });
        shown.await.as_str().unwrap().to_owned()
    }

    /// What the browser has logged since the last call.
    pub async fn logged(&self) -> Vec<Value> {
        let log = self.post("se/log", &json!({"type": "browser"})).await.unwrap();
        log.as_array().unwrap().clone()
    }

    pub async fn close(self) {
        let _ = call(Method::DELETE, &self.session, &Value::Null).await;
        self.driver.stop().await;
    }

    /// Does something with the first element that a selector finds, until that works.
    async fn with(&self, css: &str, act: impl AsyncFn(String) -> Result<Value, String>) -> Value {
        let attempt = async || {
            let found = self.post("element", &json!({"using": "css selector", "value": css})).await?;
            act(found[ELEMENT].as_str().unwrap().to_owned()).await
        };
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{css}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn post(&self, command: &str, body: &Value) -> Result<Value, String> {
        call(Method::POST, &format!("{}/{command}", self.session), body).await
    }
}

/// The `value` of an answer, or what went wrong.
async fn call(method: Method, url: &str, body: &Value) -> Result<Value, String> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("content-type", "application/json")];
    let answer = send(method, url, &headers, body, LIMIT).await.map_err(|error| error.to_string())?;
    let mut told: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    if answer.status.is_success() {
        Ok(told["value"].take())
    } else {
        Err(told["value"]["message"].to_string())
    }
}

/// The driver's address, from its log: with port 0 only it knows.
fn announced(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let (_, rest) = text.split_once("started successfully on port ")?;
    let (port, _) = rest.split_once('.')?;
    Some(format!("http://127.0.0.1:{port}"))
}

fn program(name: &str) -> Option<PathBuf> {
    path().split(':').map(|folder| Path::new(folder).join(name)).find(|program| program.is_file())
}

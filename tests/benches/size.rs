//! What a function weighs: its package, and the memory that its process has held at most.

use std::path::Path;

use harness::api::{Api, FUNCTIONS, cancel_request, list_request};
use harness::cloudwatch::CloudWatch;
use harness::gateway::Response;
use harness::lambda::{Env, Function, Launch, binary};
use harness::settings::tool;
use tokio::process::Command;

use crate::table::{Figure, Goal, Table};
use crate::warm::create_event;

const REQUESTS: usize = 1_000;
const MAX_ZIP_BYTES: u64 = 3_800_000;
const MAX_MEMORY_BYTES: u64 = 40_000_000;

/// Measures packages, then memory.
pub async fn measure(table: &mut Table) {
    packages(table).await;
    memory(table).await;
}

async fn packages(table: &mut Table) {
    let (_, floor) = package("hello-world").await;
    for function in FUNCTIONS {
        let (program, zip) = package(function).await;
        let what = format!("package of {function} (program: {:.2} MB)", megabytes(program));
        let floor = Some((Figure::size(floor), "hello-world"));
        table.add(&what, Figure::size(zip), floor, Some(Goal::AtMost(Figure::size(MAX_ZIP_BYTES))));
    }
}

/// The size of a program, and that of its package: the best that the format's usual compression can do.
async fn package(function: &str) -> (u64, u64) {
    const ZIP: &str = "
import io, sys, zipfile
buffer = io.BytesIO()
with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED, compresslevel=9) as package:
    package.write(sys.argv[1], 'bootstrap')
print(len(buffer.getvalue()))";
    let program = binary(function).unwrap_or_else(|error| panic!("{error}"));
    let python = tool("python").unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(python).args(["-c", ZIP]).arg(&program).output().await.expect("Python runs");
    let zip = String::from_utf8_lossy(&output.stdout).trim().parse();
    (
        bytes_of(&program),
        zip.unwrap_or_else(|error| panic!("the package cannot be made: {error}: {output:?}")),
    )
}

fn bytes_of(program: &Path) -> u64 {
    std::fs::metadata(program).unwrap_or_else(|error| panic!("{}: {error}", program.display())).len()
}

async fn memory(table: &mut Table) {
    let cloudwatch = CloudWatch::start().await;
    let awake = |launch: Launch| launch.freeze(false);
    let setup = ["create-schedule", "list-schedules", "cancel-schedule"]
        .into_iter()
        .fold(Api::with().cloudwatch(&cloudwatch), |setup, function| setup.launch(function, awake));
    let api = setup.start().await;
    api.flag("bench", "production").await;
    let hello = Launch::of("hello-world").env(Env::new()).freeze(false).start().await;
    let hello = hello.unwrap_or_else(|error| panic!("{error}"));

    let mut schedules = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let created = api.send(&create_event(&api.admin())).await;
        assert_eq!(created.status, 201, "{created:?}");
        schedules.push(created.json["id"].as_str().expect("a schedule has an id").to_owned());
    }
    for _ in 0..REQUESTS {
        let page = api.send(&list_request("bench", "limit=200").bearer(&api.admin())).await;
        assert_eq!(page.status, 200, "{page:?}");
    }
    for id in &schedules {
        let cancelled = api.send(&cancel_request("bench", id, "").bearer(&api.admin())).await;
        assert_eq!(cancelled.status, 200, "{cancelled:?}");
    }
    let event = create_event(&api.admin()).event();
    for _ in 0..REQUESTS {
        let answer = Response::of(hello.invoke(&event).await);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    api.settle().await;
    let delivered = cloudwatch.stored().len();
    assert_eq!(delivered, 2 * REQUESTS, "creates and cancels were delivered to CloudWatch Logs");

    for function in ["create-schedule", "list-schedules", "cancel-schedule"] {
        let what = format!("memory of {function} at most, over {REQUESTS} requests");
        let figure = peak(api.function(function).await);
        let floor = Some((peak(&hello), "hello-world"));
        table.add(&what, figure, floor, Some(Goal::AtMost(Figure::size(MAX_MEMORY_BYTES))));
    }
}

fn peak(function: &Function) -> Figure {
    // Only Linux tells.
    Figure::size(function.peak_memory_kib().unwrap_or_default() * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

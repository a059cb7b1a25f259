//! On what it was measured: figures mean little without it.

use harness::database::Database;
use harness::{clock, settings};

/// One line with the date, the machine and how busy it is, the server and the binaries.
pub fn described(version: &str) -> String {
    let date = clock::now().format("%Y-%m-%d");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("an unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let arch = std::env::consts::ARCH;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown").to_owned();
    let folder = settings::functions_dir().expect("the functions are somewhere");
    let profile = folder.file_name().unwrap_or_default().to_string_lossy();
    format!(
        "{date}: {cores} cores, {model} ({arch}), load {load} at the start, PostgreSQL {version} (no fsync), functions of the \
         profile `{profile}`."
    )
}

/// Of the server, such as `18.4`.
pub async fn server_version() -> String {
    let database = Database::empty().await.connect().await;
    let version = database.query_one("show server_version", &[]).await.expect("a server has a version");
    let version: &str = version.get(0);
    version.split(' ').next().unwrap_or_default().to_owned()
}

//! What `make` checks before it installs or builds anything: each fault is one line that says what to do.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::scratch::Scratch;
use harness::settings::{TEST_SERVICE_DATABASE_URL, of_the_test_stack, path, workspace};

use super::text;

const SETTINGS: [&str; 8] = [
    "PORT",
    "TICK_SECONDS",
    "CONTAINERS_AT",
    "CORS_ALLOWED_ORIGINS",
    "GATEWAY_AUTHORIZER",
    "DATABASE_URL",
    "DATABASE_CA_FILE",
    "CARGO_TARGET_DIR",
];

fn script() -> PathBuf {
    workspace().join("tests/local-stack/preflight.py")
}

/// The lines that are printed, and whether all is well.
fn run(arguments: &[&str], env: &[(&str, &str)]) -> (bool, Vec<String>) {
    let mut python = Command::new(workspace().join(".venv/bin/python"));
    python.arg(script()).args(arguments);
    for name in SETTINGS {
        python.env_remove(name);
    }
    let port = free_port().to_string();
    let output = python.env("PORT", port).envs(env.iter().copied()).output().unwrap();
    (output.status.success(), text(&output).lines().map(str::to_owned).collect())
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn nothing_is_said_when_all_is_well() {
    let database = of_the_test_stack(TEST_SERVICE_DATABASE_URL);

    let settings = [
        ("TICK_SECONDS", "2"),
        ("CONTAINERS_AT", "127.0.0.1"),
        ("CORS_ALLOWED_ORIGINS", "http://localhost:5173,https://admin.example.test"),
        ("GATEWAY_AUTHORIZER", "on"),
        ("DATABASE_URL", database.as_str()),
    ];

    assert_eq!(run(&["run"], &settings), (true, Vec::new()));
    assert_eq!(run(&[], &[("PORT", "only make run listens")]), (true, Vec::new()));
}

#[test]
fn a_bad_setting_is_named() {
    let url = "it must be a URL such as postgres://USER:PASSWORD@HOST:5432/DATABASE";
    let origins = "it must be origins such as http://localhost:5173, separated by commas";
    let closed = free_port();
    let cases = [
        ("PORT", "http", "PORT is http: it must be a positive whole number".to_owned()),
        ("PORT", "0", "PORT is 0: it must be a number from 1 to 65535".to_owned()),
        ("PORT", "70000", "PORT is 70000: it must be a number from 1 to 65535".to_owned()),
        ("TICK_SECONDS", "1m", "TICK_SECONDS is 1m: it must be a positive whole number".to_owned()),
        ("TICK_SECONDS", "0", "TICK_SECONDS is 0: it must be at least 1".to_owned()),
        ("CONTAINERS_AT", "docker0", "CONTAINERS_AT is docker0: it must be an IP address".to_owned()),
        (
            "CONTAINERS_AT",
            "192.0.2.1",
            "CONTAINERS_AT is 192.0.2.1: no network interface of this machine has this address".to_owned(),
        ),
        ("CORS_ALLOWED_ORIGINS", "*", format!("CORS_ALLOWED_ORIGINS is *: {origins}")),
        (
            "CORS_ALLOWED_ORIGINS",
            "http://localhost:5173/",
            format!("CORS_ALLOWED_ORIGINS is http://localhost:5173/: {origins}"),
        ),
        ("GATEWAY_AUTHORIZER", "yes", "GATEWAY_AUTHORIZER is yes: it must be on or off".to_owned()),
        ("DATABASE_CA_FILE", "/none.pem", "DATABASE_CA_FILE is /none.pem: the file cannot be read".to_owned()),
        ("DATABASE_URL", "mysql://u:topsecret@h/d", format!("DATABASE_URL is a mysql:// URL; {url}")),
        ("DATABASE_URL", "top secret://h/d", format!("DATABASE_URL is a URL of another scheme; {url}")),
        ("DATABASE_URL", "host=h password=topsecret", format!("DATABASE_URL is not a URL; {url}")),
        (
            "DATABASE_URL",
            &format!("postgres://u:topsecret@127.0.0.1:{closed}/d?options=x"),
            format!(
                "cannot reach the database of DATABASE_URL (postgres://127.0.0.1:{closed}/d): Connection refused"
            ),
        ),
        (
            "DATABASE_URL",
            "postgres://u:topsecret@h:abc/d",
            "cannot reach the database of DATABASE_URL (postgres://h:abc/d): its port is not a number from 1 to 65535"
                .to_owned(),
        ),
    ];

    for (name, value, expected) in cases {
        assert_eq!(run(&["run"], &[(name, value)]), (false, vec![expected]), "{name}={value}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port().to_string();

    let (_, told) = run(&["run"], &[("PORT", &port)]);

    let expected =
        format!("port {port} is taken: stop what listens there, or choose another with `make run PORT=...`");
    assert_eq!(told, [expected]);
}

#[test]
fn another_kind_of_server_is_no_database() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    // MySQL speaks first; the length of its greeting may be the letter that PostgreSQL answers with.
    let server =
        std::thread::spawn(move || other.accept().unwrap().0.write_all(b"N\0\0\0\x0a8.4.0\0").unwrap());

    let url = format!("postgres://u:p@127.0.0.1:{port}/d");
    let (_, told) = run(&["run"], &[("DATABASE_URL", &url)]);

    server.join().unwrap();
    let place = format!("postgres://127.0.0.1:{port}/d");
    let expected = format!(
        "cannot reach the database of DATABASE_URL ({place}): what listens there is not a PostgreSQL server"
    );
    assert_eq!(told, [expected]);
}

#[test]
fn the_settings_of_an_ended_stack_are_explained() {
    let url = format!("postgres://u:p@127.0.0.1:{}/d", free_port());

    let (_, told) = run(&["run"], &[("DATABASE_URL", &url), ("API_URL", "http://127.0.0.1:9000")]);

    assert!(
        told[0].ends_with("this terminal has the settings of an earlier run: open a new one"),
        "{told:?}"
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let (well, told) = run(&[], &[("CARGO_TARGET_DIR", "/dev/null/target")]);

    assert!(!well);
    assert_eq!(told, ["cannot write into /dev/null/target: Not a directory"]);
}

#[test]
fn missing_and_old_tools_are_named() {
    let scratch = Scratch::create(None).unwrap();
    let folder = scratch.path().display().to_string();
    let told = |path: &str| run(&[], &[("PATH", path)]).1.join("\n");

    let without = told(&folder);
    assert!(without.contains("cargo is missing: install Rust, see https://rustup.rs"), "{without}");
    assert!(without.contains("the C compiler cc is missing: install one (Debian and Ubuntu: "), "{without}");

    program(scratch.path(), "cargo", "");
    program(scratch.path(), "rustc", "echo 'rustc 1.80.1 (3f5fd8dd4 2024-08-06)'");
    let old = told(&format!("{folder}:{}", path()));
    let expected = ["Rust 1.80.1 is too old: ", " or newer is needed (`rustup update stable`)"];
    assert!(expected.iter().all(|part| old.contains(part)), "{old}");

    program(
        scratch.path(),
        "rustc",
        "echo 'error: rustup could not choose a version of rustc to run' >&2; exit 1",
    );
    let broken = told(&format!("{folder}:{}", path()));
    assert_eq!(broken, "rustc does not work: error: rustup could not choose a version of rustc to run");
}

fn program(folder: &Path, name: &str, script: &str) {
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The file has to parse before it can say that.
#[test]
fn an_old_python_gets_one_line() {
    let file = script().display().to_string();
    let python = |code: &str| {
        let output = Command::new(workspace().join(".venv/bin/python")).args(["-c", code, &file]).output();
        text(&output.unwrap())
    };

    for minor in [6, 9] {
        let parse =
            format!("import ast, sys; ast.parse(open(sys.argv[1]).read(), feature_version=(3, {minor}))");
        assert_eq!(python(&parse), "", "Python 3.{minor}");
    }
    let run = "import runpy, sys; sys.version_info, sys.version = (3, 9, 6), '3.9.6 (x)'; \
               runpy.run_path(sys.argv[1], run_name='__main__')";
    let told = python(run);
    assert!(told.starts_with("Python 3.9.6 is too old: install Python 3.11 or newer"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

//! The Makefile: what it says of itself, and what it never does.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use harness::scratch::Scratch;
use harness::settings::{
    TEST_DATABASE_URL, TEST_LOGS_ENDPOINT, TEST_SERVICE_DATABASE_URL, TEST_TEMPLATE_DATABASE,
    of_the_test_stack, workspace,
};

use super::blocks::files;
use super::text;

/// What `make run` reads.
const LOCAL_SETTINGS: [&str; 6] =
    ["PORT", "TICK_SECONDS", "CORS_ALLOWED_ORIGINS", "GATEWAY_AUTHORIZER", "DATABASE_URL", "CONTAINERS_AT"];

/// `make` as in a new terminal, whatever `make` runs this test.
fn make(arguments: &[&str]) -> String {
    let mut make = Command::new("make");
    make.args(arguments).current_dir(workspace());
    for name in ["MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "T", "ARCH", "BASELINE", "LOAD_MINUTES"] {
        make.env_remove(name);
    }
    let output = make.output().expect("make starts");
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

fn makefile() -> String {
    std::fs::read_to_string(workspace().join("Makefile")).unwrap()
}

#[test]
fn make_alone_names_every_target_and_the_variables() {
    let help = make(&[]);

    let makefile = makefile();
    let targets = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    for target in targets.split(' ').filter(|target| *target != "help") {
        assert!(help.contains(&format!("make {target} ")), "no word about `make {target}`:\n{help}");
    }
    for variable in ["BASELINE", "DATABASE_CA_FILE", "DEBIAN_MIRROR", "LOAD_MINUTES", "T", "ARCH", "PYTHON"]
        .into_iter()
        .chain(LOCAL_SETTINGS)
    {
        assert!(help.contains(&format!("    {variable}=")), "no word about {variable}:\n{help}");
    }
}

#[test]
fn the_readme_names_the_settings_of_the_local_stack() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("It has settings of its own:\n").unwrap();
    let (table, _) = rest.split_once("\n\nPut them").unwrap();
    let names: Vec<_> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();

    assert_eq!(names, LOCAL_SETTINGS);
}

/// What `T=` selects in the documentation is there.
#[test]
fn every_test_that_the_documentation_runs_exists() {
    let list = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let tests = text(&list);
    let mut names = 0;
    for file in files() {
        let guide = std::fs::read_to_string(workspace().join(&file)).unwrap();
        for rest in guide.split("make test T=").skip(1) {
            let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            assert!(
                name == "part_of_a_name" || tests.contains(name),
                "{file}: no test has {name} in its name"
            );
            names += 1;
        }
    }
    assert!(names > 5, "{names} commands were checked");
}

#[test]
fn the_servers_of_the_tests_can_be_used_from_elsewhere() {
    let scratch = Scratch::create(None).unwrap();
    let script = workspace().join("tests/local-stack/test-stack.sh");
    let mut shell = Command::new("sh");
    shell.arg(&script).arg("/target/local").current_dir(scratch.path()).stdout(Stdio::piped());
    let mut running = shell.spawn().unwrap();
    let mut output = BufReader::new(running.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told: Vec<_> = output.by_ref().take_while(|line| !line.starts_with("Ctrl-C")).collect();

    let use_it = ". .local/test-env && env";
    let env =
        Command::new("sh").args(["-c", use_it]).env_clear().current_dir(scratch.path()).output().unwrap();
    let json = told.iter().skip_while(|line| *line != "{").cloned().collect::<String>();
    let json: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(json["FUNCTIONS_DIR"], "/target/local");
    for name in [TEST_DATABASE_URL, TEST_SERVICE_DATABASE_URL, TEST_TEMPLATE_DATABASE, TEST_LOGS_ENDPOINT] {
        assert_eq!(json[name], of_the_test_stack(name), "{name}");
        let line = format!("{name}={}", of_the_test_stack(name));
        assert!(text(&env).lines().any(|found| found == line), "{}", text(&env));
    }

    running.kill().unwrap();
    running.wait().unwrap();
}

#[test]
fn cargo_never_changes_the_lock_file() {
    let planned = make(&["-n", "run", "test", "test-stack", "test-arm64", "bench", "build"]);
    let with_a_name = make(&["-n", "test", "T=part"]);
    let build = std::fs::read_to_string(workspace().join("tests/deploy/build.py")).unwrap();

    let mut commands = 0;
    for command in planned.lines().chain(with_a_name.lines()).flat_map(|line| line.split("cargo ").skip(1)) {
        let word = command.split(' ').next().unwrap_or_default();
        if ["build", "test", "bench", "clippy", "run"].contains(&word) && !command.starts_with("build for") {
            assert!(command.contains("--locked"), "without --locked: cargo {command}");
            commands += 1;
        }
    }
    assert!(commands >= 10, "{planned}");
    assert!(build.contains(r#""lambda", "build", "--locked""#), "build.py builds with --locked");
}

#[test]
fn cargo_is_quiet_unless_somebody_watches() {
    let planned = make(&["-n", "run"]);

    let build = planned.lines().find(|line| line.starts_with("cargo build")).unwrap();
    assert!(build.contains(" --quiet "), "{build}");
}

#[test]
fn the_local_stack_needs_less_than_the_tests() {
    let run = make(&["-n", "run"]);
    let test = make(&["-n", "test"]);

    let installs = |planned: &str, file: &str| planned.split_whitespace().any(|word| word == file);
    assert!(installs(&run, "requirements.txt") && !installs(&run, "requirements-test.txt"), "{run}");
    assert!(installs(&test, "requirements.txt") && installs(&test, "requirements-test.txt"), "{test}");
}

//! The Makefile: what it says of itself, and what it never does.

use std::process::Command;

use harness::settings::workspace;

use super::text;

/// `make` as in a new terminal, whatever `make` runs this test.
fn make(arguments: &[&str]) -> String {
    let mut make = Command::new("make");
    make.args(arguments).current_dir(workspace());
    for name in ["MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "T", "ARCH"] {
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
    for variable in ["PORT", "TICK_SECONDS", "DATABASE_URL", "CONTAINERS_AT", "T", "ARCH", "PYTHON"] {
        assert!(help.contains(&format!("    {variable}=")), "no word about {variable}:\n{help}");
    }
}

#[test]
fn cargo_never_changes_the_lock_file() {
    let planned = make(&["-n", "run", "test", "test-stack", "bench", "build"]);
    let with_a_name = make(&["-n", "test", "T=part"]);
    let build = std::fs::read_to_string(workspace().join("tests/harness/build.py")).unwrap();

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

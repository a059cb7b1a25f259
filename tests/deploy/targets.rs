//! `make build`: which architectures it builds for, and that it leaves the machine's Rust as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use harness::scratch::Scratch;
use harness::settings::{path, tool};

use super::artifacts::{faults, output, python};

/// A Rust that has one target besides this machine's, and a rustup that knows of none and writes down what it is asked.
struct Machine {
    scratch: Scratch,
}

impl Machine {
    fn with_target(target: &str) -> Self {
        let machine = Self { scratch: Scratch::create(None).expect("a folder") };
        let here = machine.scratch.path().join(target);
        fs::create_dir(&here).and_then(|()| fs::write(here.join("libstd-0.rlib"), "")).expect("a library");
        let folder = machine.scratch.path().display().to_string();
        let (path, lambda) = (path(), tool("cargo-lambda").unwrap_or_else(|error| panic!("{error}")));
        machine.program(
            "rustc",
            &format!(
                "case $* in *target-libdir*) echo '{folder}'/$4 ;; *) PATH='{path}' exec rustc \"$@\" ;; esac"
            ),
        );
        machine.program("rustup", &format!("echo \"rustup $*\" >> '{folder}/calls'; exit 1"));
        // The real ones, up to where the compilation would begin.
        machine.program(
            "cargo",
            &format!(
                "case $1 in
                lambda) CARGO=$0 exec '{}' \"$@\" ;;
                build) echo \"cargo $*\" >> '{folder}/calls'; exit 1 ;;
                *) exec '{}' \"$@\" ;;
                esac",
                lambda.display(),
                env!("CARGO")
            ),
        );
        machine
    }

    fn program(&self, name: &str, script: &str) {
        let program = self.scratch.path().join(name);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("the folder is ours");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }

    /// What `make build` says is wrong.
    fn build(&self, architecture: &str) -> Vec<String> {
        let mut command = python("tests/deploy/build.py");
        command.env("PATH", format!("{}:{}", self.scratch.path().display(), path()));
        command.env("CARGO_TARGET_DIR", self.scratch.path().join("target")).env_remove("RUSTC");
        faults(&output(command.args([architecture, "create-schedule"])))
    }

    /// What rustup was asked, and what cargo was to build.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.scratch.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }
}

#[test]
fn an_architecture_that_rust_cannot_build_for_is_told_with_what_to_do() {
    let machine = Machine::with_target("x86_64-unknown-linux-gnu");

    assert_eq!(
        machine.build("arm64"),
        ["Rust cannot build for arm64 yet: install its standard library with `rustup target add \
          aarch64-unknown-linux-gnu`; what can be built here is `make build ARCH=x86_64`"]
    );
    assert_eq!(machine.build("mips"), ["ARCH is mips: it must be arm64 or x86_64"]);
    assert!(machine.calls().is_empty(), "{:#?}", machine.calls());
}

/// As with a Rust that is not rustup's. cargo-lambda alone would have rustup install the target.
#[test]
fn a_build_never_asks_rustup() {
    let machine = Machine::with_target("aarch64-unknown-linux-gnu");

    let told = machine.build("arm64");

    assert_eq!(told, ["cargo could not build for arm64"]);
    let calls = machine.calls();
    let [build] = calls.as_slice() else { panic!("{calls:#?}") };
    assert!(build.starts_with("cargo build ") && build.contains(" aarch64-unknown-linux-gnu"), "{build}");
}

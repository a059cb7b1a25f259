//! `make build`: what it refuses to call built. The programs are real ones, by zig, which cargo-lambda brings along.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use harness::scratch::Scratch;
use harness::settings::{tool, workspace};

use super::folders;
use super::template::functions;

/// The limit of an HTTP function's zip.
const LIMIT: usize = 4 * 1024 * 1024;

#[test]
fn programs_that_lambda_can_run_pass_and_their_sizes_are_told() {
    let built = Built::with(&old());

    let told = built.check("x86_64");

    assert!(told.status.success(), "{}", text(&told));
    for name in folders() {
        let line = text(&told).lines().find(|line| line.starts_with(&format!("{name} "))).map(str::to_owned);
        let line = line.unwrap_or_else(|| panic!("nothing about {name}: {}", text(&told)));
        assert!(line.contains(" MiB, needs glibc 2.34 "), "{line}");
    }
}

#[test]
fn a_program_that_needs_a_newer_glibc_than_lambda_has_is_refused() {
    let built = Built::with(&old());
    // It came with glibc 2.36.
    let newer = program("2.36", "unsigned arc4random(void); int main(void) { return arc4random() == 7; }");
    built.put("list-schedules", &newer);

    let told = built.check("x86_64");

    let expected = ["list-schedules: it needs GLIBC_2.36, and Lambda has glibc 2.34"];
    assert_eq!(faults(&told), expected, "{}", text(&told));
}

#[test]
fn a_program_for_another_architecture_is_refused() {
    let told = Built::with(&old()).check("arm64");

    let told_of: Vec<_> = faults(&told);
    assert_eq!(told_of.len(), folders().len(), "{told_of:#?}");
    assert!(told_of.iter().all(|fault| fault.ends_with("for EM_X86_64, not for EM_AARCH64")), "{told_of:#?}");
}

#[test]
fn a_zip_above_4_mib_is_refused_for_functions_that_somebody_waits_for() {
    // What comes after the sections of a program is never read; and it does not get smaller in the zip.
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let mut program = old();
    program.extend((0..=LIMIT).map(|_| noise()));

    let told = Built::with(&program).check("x86_64");

    let told_of = faults(&told);
    let refused: Vec<_> = told_of.iter().filter_map(|fault| fault.split_once(": the zip has ")).collect();
    let functions = functions();
    let http: Vec<_> =
        functions.values().filter(|function| function.is_http()).map(|function| &function.binary).collect();
    assert_eq!((refused.len(), told_of.len()), (http.len(), http.len()), "{told_of:#?}");
    for name in http {
        assert!(refused.iter().any(|(refused, _)| refused == name), "{name} is not refused: {told_of:#?}");
    }
}

#[test]
fn a_function_that_was_not_built_is_missed_and_one_that_is_no_program_is_refused() {
    let built = Built::with(&old());
    fs::remove_file(built.folder("migrate").join("bootstrap.zip")).expect("it was there");
    built.put("create-schedule", b"#!/bin/sh\n");

    let told_of = faults(&built.check("x86_64"));

    assert_eq!(told_of.len(), 2, "{told_of:#?}");
    assert!(told_of.iter().any(|fault| fault.starts_with("migrate: there is no ")), "{told_of:#?}");
    let no_program = |fault: &String| {
        fault.starts_with("create-schedule: ") && fault.contains("does not hold a program named bootstrap")
    };
    assert!(told_of.iter().any(no_program), "{told_of:#?}");
}

/// What cargo-lambda leaves behind.
struct Built {
    scratch: Scratch,
}

impl Built {
    /// All functions are this program.
    fn with(program: &[u8]) -> Self {
        let built = Self { scratch: Scratch::create(None).expect("a folder") };
        for name in folders() {
            built.put(&name, program);
        }
        built
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn put(&self, name: &str, program: &[u8]) {
        let folder = self.folder(name);
        fs::create_dir_all(&folder).expect("the folder is ours");
        let bootstrap = folder.join("bootstrap");
        fs::write(&bootstrap, program).expect("the folder is ours");
        fs::set_permissions(&bootstrap, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("it is ours");
        let mut zip = Command::new(tool("python").unwrap_or_else(|error| panic!("{error}")));
        zip.args(["-m", "zipfile", "-c", "bootstrap.zip", "bootstrap"]).current_dir(&folder);
        let told = output(&mut zip);
        assert!(told.status.success(), "{}", text(&told));
    }

    fn check(&self, architecture: &str) -> Output {
        output(python("tests/deploy/artifacts.py").arg(self.scratch.path()).arg(architecture))
    }
}

/// A program that needs glibc 2.34, as Lambda has it, and no newer.
fn old() -> Vec<u8> {
    static OLD: OnceLock<Vec<u8>> = OnceLock::new();
    OLD.get_or_init(|| program("2.34", "int main(void) { return 0; }")).clone()
}

/// A program in C for x86-64, linked against a version of glibc.
fn program(glibc: &str, code: &str) -> Vec<u8> {
    let scratch = Scratch::create(None).expect("a folder");
    let (source, program) = (scratch.path().join("main.c"), scratch.path().join("main"));
    fs::write(&source, code).expect("the folder is ours");
    let mut zig = Command::new(tool("python").unwrap_or_else(|error| panic!("{error}")));
    zig.args(["-m", "ziglang", "cc", "-target", &format!("x86_64-linux-gnu.{glibc}"), "-o"]);
    let told = output(zig.arg(&program).arg(&source));
    assert!(told.status.success(), "{}", text(&told));
    fs::read(&program).expect("zig has written it")
}

pub(super) fn python_code(code: &str) -> Command {
    let mut command = Command::new(tool("python").unwrap_or_else(|error| panic!("{error}")));
    command.args(["-c", code]).current_dir(workspace());
    command
}

pub(super) fn python(script: &str) -> Command {
    let mut command = Command::new(tool("python").unwrap_or_else(|error| panic!("{error}")));
    command.arg(workspace().join(Path::new(script)));
    command
}

pub(super) fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What is wrong, a line each; with something wrong it must fail.
pub(super) fn faults(output: &Output) -> Vec<String> {
    let lines: Vec<_> = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
    assert_eq!(output.status.code(), Some(if lines.is_empty() { 0 } else { 1 }), "{}", text(output));
    lines
}

//! A clone has the bytes that were landed, whatever git makes of line ends there: checksums are made of bytes.

use std::path::Path;
use std::process::Command;

use harness::scratch::Scratch;
use harness::settings::workspace;

use super::checksums::files;

fn git(folder: &Path, args: &[&str]) {
    let output = Command::new("git")
        .args(["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"])
        .args(args)
        .current_dir(folder)
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_clone_that_converts_line_ends_has_every_byte_of_the_migrations() {
    let scratch = Scratch::create(None).unwrap_or_else(|error| panic!("{error}"));
    let (origin, clone) = (scratch.path().join("origin"), scratch.path().join("clone"));
    std::fs::create_dir_all(origin.join("migrations/roles")).unwrap();
    let roles = ["roles", "grants", "retention"].map(|name| format!("migrations/roles/{name}.sql"));
    let migrations = files().into_keys().map(|name| format!("migrations/{name}"));
    let all: Vec<String> = migrations.chain(roles).collect();
    for path in all.iter().map(String::as_str).chain([".gitattributes"]) {
        std::fs::copy(workspace().join(path), origin.join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    // What a clone without a word about it does.
    std::fs::write(origin.join("plain.unknown"), "one\ntwo\n").unwrap();
    let attributes = std::fs::read_to_string(origin.join(".gitattributes")).unwrap();
    std::fs::write(origin.join(".gitattributes"), format!("{attributes}plain.unknown !text !eol\n")).unwrap();
    git(&origin, &["init", "--quiet"]);
    git(&origin, &["add", "--all"]);
    git(&origin, &["commit", "--quiet", "--message", "all"]);

    let (from, to) = (origin.display().to_string(), clone.display().to_string());
    git(scratch.path(), &["-c", "core.autocrlf=true", "clone", "--quiet", &from, &to]);

    assert_eq!(std::fs::read_to_string(clone.join("plain.unknown")).unwrap(), "one\r\ntwo\r\n");
    for path in all {
        let (here, there) = (std::fs::read(workspace().join(&path)), std::fs::read(clone.join(&path)));
        assert!(here.unwrap() == there.unwrap(), "{path} has other bytes in the clone");
    }
}

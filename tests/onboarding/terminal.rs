//! Interactive shells in a terminal; `terminal.py` types.

use std::io::Write;
use std::process::{Command, Stdio};

use harness::settings::workspace;

/// What people paste into: zsh as macOS has it, bash, dash. None reads anybody's own settings, and zsh draws nothing.
pub const SHELLS: [&[&str]; 3] = [
    &["zsh", "-f", "-i", "+o", "zle", "+o", "promptsp", "+o", "promptcr"],
    &["bash", "--norc", "-i"],
    &["dash", "-i"],
];

/// What the terminal shows for each of the texts.
///
/// # Panics
/// When a text does not end within the limit.
pub fn paste(shell: &[&str], texts: &[String], limit_in_seconds: u32) -> Vec<String> {
    require(shell[0]);
    let mut child = Command::new("python3")
        .arg(workspace().join("tests/onboarding/terminal.py"))
        .arg(limit_in_seconds.to_string())
        .args(shell)
        .current_dir(workspace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let input = serde_json::to_vec(texts).unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", super::text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Panics when a shell is missing.
pub fn require(shell: &str) {
    let found = Command::new(shell).args(["-c", "true"]).output().is_ok();
    assert!(
        found,
        "{shell} is missing: install it (Debian and Ubuntu: apt-get install {shell}; macOS has it)"
    );
}

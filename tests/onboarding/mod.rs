//! What a newcomer runs and pastes: the commands in the documentation, the Makefile, the checks before a build, and the
//! local stack as it says of itself.

mod blocks;
mod make_verify;
mod makefile;
mod named_files;
mod pasted_session;
mod preflight;
mod setup;
mod shells;
mod stack;
mod terminal;

use std::process::Output;

/// Both outputs of a program.
fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

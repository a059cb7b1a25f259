//! What a newcomer runs and pastes: the commands in the documentation, the Makefile, the checks before a build, and the
//! local stack: what it says of itself, its gateway, and the API explorer in a browser.

pub mod blocks;
mod browser;
mod explorer_in_browser;
mod local_gateway;
mod make_verify;
mod makefile;
mod named_files;
mod pasted_session;
mod pictures;
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

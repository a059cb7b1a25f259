//! Whatever the documentation shows for a shell can be pasted into zsh, bash and dash. In an interactive zsh, `#` begins no
//! comment, and an apostrophe in what was meant as one opens a quote.

use std::process::Command;

use super::blocks::{Block, blocks, commands, files};
use super::terminal::{SHELLS, paste, require};
use super::text;

fn all_commands() -> Vec<Block> {
    files().iter().flat_map(|file| commands(file)).collect()
}

#[test]
fn shell_commands_are_in_sh_blocks_without_comments() {
    let all: Vec<Block> = files().iter().flat_map(|file| blocks(file)).collect();
    let others = ["http", "json", "jsonc", "mermaid", "python", "rust", "sql", "text", "toml", "ts", "yaml"];

    for block in &all {
        assert!(
            block.language == "sh" || others.contains(&block.language.as_str()),
            "{}: a block of `{}`; shell commands are in `sh` blocks",
            block.place,
            block.language
        );
    }
    for block in all_commands() {
        let commented = block.text.lines().find(|line| has_comment(line));
        assert_eq!(commented, None, "{}: zsh has no comments; write it as prose", block.place);
    }
    assert!(has_comment("# x") && has_comment("make test  # x") && !has_comment("echo ${x##*:} $#"));
}

fn has_comment(line: &str) -> bool {
    line.split_whitespace().any(|word| word.starts_with('#'))
}

#[test]
fn every_shell_reads_every_block_as_a_script() {
    let blocks = all_commands();
    assert!(blocks.len() > 5, "the documentation has commands");

    for [shell, ..] in SHELLS.map(|shell| [shell[0]]) {
        require(shell);
        for block in &blocks {
            let read = Command::new(shell).args(["-n", "-c", &block.text]).output().unwrap();
            assert!(read.status.success(), "{}: {shell}: {}", block.place, text(&read));
        }
    }
}

/// As the body of a function, which the shell parses as it parses what is typed, and does not run.
#[test]
fn every_shell_reads_every_block_that_is_pasted() {
    let blocks = all_commands();
    let functions: Vec<_> = blocks.iter().map(|block| format!("f() {{\n{}\n}}", block.text)).collect();

    for shell in SHELLS {
        let shown = paste(shell, &functions, 10);
        for (block, shown) in blocks.iter().zip(shown) {
            let refused =
                ["parse error", "syntax error", "Syntax error"].iter().any(|told| shown.contains(told));
            assert!(!refused, "{}: {}: {shown}", block.place, shell[0]);
        }
    }
}

#[test]
#[should_panic(expected = "still waits for the end of")]
fn a_comment_with_an_apostrophe_leaves_zsh_waiting() {
    paste(SHELLS[0], &["# It doesn't end.".to_owned()], 2);
}

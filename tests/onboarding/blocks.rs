//! The code blocks of the documentation.

use harness::settings::workspace;

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// `README.md:12`.
    pub place: String,
    /// What follows the opening fence.
    pub language: String,
    /// Its lines, without the indentation of the fence.
    pub text: String,
}

/// Every Markdown file for people.
pub fn files() -> Vec<String> {
    let folder = std::fs::read_dir(workspace().join("docs")).expect("docs is a folder");
    let docs = folder.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_string_lossy()));
    let mut files: Vec<_> = docs.filter(|file| file.ends_with(".md")).collect();
    files.sort();
    let others = ["CONTRIBUTING.md", "README.md", "SECURITY.md", "migrations/README.md", "tests/README.md"];
    others.map(str::to_owned).into_iter().chain(files).collect()
}

/// The blocks of a file, in order.
pub fn blocks(file: &str) -> Vec<Block> {
    let text =
        std::fs::read_to_string(workspace().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let indentation = line.len() - line.trim_start().len();
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
        let inside: Vec<_> = inside.map(|line| line.get(indentation..).unwrap_or_default()).collect();
        blocks.push(Block {
            place: format!("{file}:{}", at + 1),
            language: language.to_owned(),
            text: inside.join("\n"),
        });
    }
    blocks
}

/// The blocks that people paste into a shell.
pub fn commands(file: &str) -> Vec<Block> {
    blocks(file).into_iter().filter(|block| block.language == "sh").collect()
}

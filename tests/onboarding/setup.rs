//! The pinned tools: a copied tree gets its own, because the scripts of a virtual environment begin with its path.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::scratch::Scratch;
use harness::settings::workspace;

use super::text;

#[test]
fn a_copied_tree_does_not_use_the_tools_of_the_original() {
    let scratch = Scratch::create(None).unwrap();
    let (original, copy) = (scratch.path().join("original"), scratch.path().join("copy"));
    fs::create_dir_all(original.join("tests/local-stack")).unwrap();
    fs::copy(workspace().join("tests/local-stack/setup.py"), original.join("tests/local-stack/setup.py"))
        .unwrap();
    fs::write(original.join("requirements.txt"), "# nothing\n").unwrap();
    fs::write(original.join("requirements-more.txt"), "# nothing more\n").unwrap();

    let told = setup(&original, &["requirements.txt"]);
    assert!(told.contains("installing the tools of requirements.txt into .venv"), "{told}");
    assert_eq!(setup(&original, &["requirements.txt"]), "", "once is enough");
    let told = setup(&original, &["requirements.txt", "requirements-more.txt"]);
    assert!(told.contains("requirements.txt and requirements-more.txt"), "{told}");
    assert_eq!(setup(&original, &["requirements.txt"]), "", "a part of what is installed");
    let copied = Command::new("cp").arg("-a").args([&original, &copy]).status().unwrap();
    assert!(copied.success());

    assert_eq!((works(&original), works(&copy)), ("True\n".to_owned(), "False\n".to_owned()));
}

/// Whether the tools would be used as they are. To make a virtual environment takes seconds.
fn works(tree: &Path) -> String {
    let code = "import sys; sys.path.insert(0, 'tests/local-stack'); import setup; print(setup.works())";
    let mut python = Command::new("python3");
    text(&python.args(["-c", code, ".venv"]).current_dir(tree).output().unwrap())
}

fn setup(tree: &Path, files: &[&str]) -> String {
    let mut python = Command::new("python3");
    let output =
        python.arg(tree.join("tests/local-stack/setup.py")).arg(".venv").args(files).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

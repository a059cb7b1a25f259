"""Builds the functions that `make bench BASELINE=<git ref>` compares with, and prints their folder: `baseline.py REF TARGET`,
where TARGET is cargo's folder. What has been built for a commit is kept there.
"""

import os
import pathlib
import shutil
import subprocess
import sys

FUNCTIONS = ["create-schedule", "migrate"]


def main(ref: str, target: pathlib.Path) -> None:
    found = subprocess.run(["git", "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"], capture_output=True, text=True)
    if found.returncode:
        sys.exit(f"BASELINE is {ref}: there is no such commit here")
    commit = found.stdout.strip()
    functions = target / "baseline" / commit
    if not all((functions / name).exists() for name in FUNCTIONS):
        print(f"building the baseline {ref} as for a deployment (ten minutes the first time)", file=sys.stderr)
        source = target / "baseline" / "source"
        remove(source)
        subprocess.run(["git", "worktree", "add", "--quiet", "--force", "--detach", source, commit], check=True)
        try:
            build(source, target / "baseline" / "build", functions)
        finally:
            remove(source)
    print(functions)


def build(source: pathlib.Path, target: pathlib.Path, functions: pathlib.Path) -> None:
    command = ["cargo", "build", "--locked", "--release", *(f"--package={name}" for name in FUNCTIONS)]
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    subprocess.run(command + quiet, cwd=source, env={**os.environ, "CARGO_TARGET_DIR": str(target)}, check=True)
    functions.mkdir(parents=True, exist_ok=True)
    for name in FUNCTIONS:
        shutil.copy2(target / "release" / name, functions)


def remove(source: pathlib.Path) -> None:
    """Of an earlier run, perhaps one that was killed."""
    if source.exists():
        subprocess.run(["git", "worktree", "remove", "--force", source], check=True)


main(sys.argv[1], pathlib.Path(sys.argv[2]))

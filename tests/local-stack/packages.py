"""Installs the Debian packages that the tests use where that needs nobody's password: as root, with apt-get. Elsewhere the
tests that need them say what to install. Standard library only."""

import os
import shutil
import subprocess
import sys

# Each package has a program of the same name.
PACKAGES = ["pgbouncer", "zsh"]
FOLDERS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])


def main() -> int:
    missing = [package for package in PACKAGES if not shutil.which(package, path=FOLDERS)]
    if not missing or os.geteuid() != 0 or not shutil.which("apt-get"):
        return 0
    print(f"installing {' and '.join(missing)}", flush=True)
    # In this run level Debian starts no service for what it installs.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    done = run(quiet, *install)
    if done.returncode != 0:
        # The lists of packages may be missing or old.
        run(quiet, "apt-get", "update")
        done = run(quiet, *install)
    if done.returncode != 0:
        print(done.stdout.strip(), f"apt-get could not install {' and '.join(missing)}", sep="\n", file=sys.stderr)
    return done.returncode


def run(env: dict[str, str], *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


if __name__ == "__main__":
    sys.exit(main())

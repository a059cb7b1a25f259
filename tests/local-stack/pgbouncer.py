"""Installs PgBouncer for the tests where that needs nobody's password: as root, with apt-get. Elsewhere the tests that need it
say what to install. Standard library only."""

import os
import shutil
import subprocess
import sys

FOLDERS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])


def main() -> int:
    if shutil.which("pgbouncer", path=FOLDERS) or os.geteuid() != 0 or not shutil.which("apt-get"):
        return 0
    print("installing PgBouncer", flush=True)
    # In this run level Debian starts no service for what it installs.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "pgbouncer"]
    done = run(quiet, *install)
    if done.returncode != 0:
        # The lists of packages may be missing or old.
        run(quiet, "apt-get", "update")
        done = run(quiet, *install)
    if done.returncode != 0:
        print(done.stdout.strip(), "apt-get could not install pgbouncer", sep="\n", file=sys.stderr)
    return done.returncode


def run(env: dict[str, str], *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


if __name__ == "__main__":
    sys.exit(main())

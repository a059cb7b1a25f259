"""Installs the Debian packages that the tests use where that needs nobody's password: as root, with apt-get. Elsewhere the
tests that need them say what to install. Standard library only."""

import os
import shutil
import subprocess
import sys

# The program of each package.
NEEDED = {"pgbouncer": "pgbouncer", "zsh": "zsh"}
# The test in a browser is skipped without them. Ubuntu has them as snaps only.
OPTIONAL = {"chromium": "chromium", "chromium-driver": "chromedriver"}
FOLDERS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])


def main() -> int:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return 0
    told = install(NEEDED)
    if told:
        print(told, file=sys.stderr)
        return 1
    if install(OPTIONAL):
        print("apt-get could not install chromium and chromium-driver: the test of the API explorer is skipped", flush=True)
    return 0


def install(packages: dict[str, str]) -> str | None:
    """Installs those whose program is missing; gives what went wrong."""
    missing = [package for package, program in packages.items() if not shutil.which(program, path=FOLDERS)]
    if not missing:
        return None
    print(f"installing {' and '.join(missing)}", flush=True)
    # In this run level Debian starts no service for what it installs.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    done = run(quiet, *command)
    if done.returncode != 0:
        # The lists of packages may be missing or old.
        run(quiet, "apt-get", "update")
        done = run(quiet, *command)
    if done.returncode == 0:
        return None
    return f"{done.stdout.strip()}\napt-get could not install {' and '.join(missing)}"


def run(env: dict[str, str], *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


if __name__ == "__main__":
    sys.exit(main())

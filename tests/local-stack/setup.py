"""Puts the tools of requirements.txt into .venv, once: `make setup`. Or those of another file into another folder,
with options for pip.

Standard library only, because it runs before anything is installed. A lock makes a second run that starts meanwhile wait.
"""

import fcntl
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER, REQUIREMENTS, *OPTIONS = sys.argv[1:] or (".venv", "requirements.txt")
VENV = ROOT / FOLDER
PYTHON = VENV / "bin" / "python"
INSTALLED = VENV / REQUIREMENTS


def main() -> int:
    if sys.version_info < (3, 10):
        return fail(f"Python {sys.version.split()[0]} is too old: 3.10 or newer is needed")
    (ROOT / ".local").mkdir(exist_ok=True)
    with open(ROOT / ".local" / "setup.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = (ROOT / REQUIREMENTS).read_text()
        if works() and INSTALLED.exists() and INSTALLED.read_text() == wanted:
            return 0
        print(f"installing the local tools into {FOLDER}", flush=True)
        if not works():
            made = run(sys.executable, "-m", "venv", "--clear", str(VENV))
            if made.returncode != 0:
                shutil.rmtree(VENV, ignore_errors=True)
                return fail(
                    "python3 cannot make a virtual environment: install its venv module "
                    "(Debian and Ubuntu: apt-get install python3-venv)",
                    made,
                )
        INSTALLED.unlink(missing_ok=True)
        installed = run(
            str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *OPTIONS, "-r", REQUIREMENTS
        )
        if installed.returncode != 0:
            return fail(f"pip could not install {REQUIREMENTS}", installed)
        INSTALLED.write_text(wanted)
    return 0


def works() -> bool:
    """Whether the folder has a Python that starts, with pip; not when the Python it was made with is gone."""
    return PYTHON.exists() and run(str(PYTHON), "-c", "import pip").returncode == 0


def run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def fail(message: str, because: subprocess.CompletedProcess | None = None) -> int:
    if because is not None:
        print(because.stdout.strip(), file=sys.stderr)
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

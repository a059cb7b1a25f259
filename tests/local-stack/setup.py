"""Installs pinned tools into a virtual environment, once: `setup.py FOLDER REQUIREMENTS... [OPTIONS FOR PIP]`.

Standard library only, because it runs before anything is installed. A lock makes a second run that starts meanwhile wait.
"""

import fcntl
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER, *ARGUMENTS = sys.argv[1:]
OPTIONS = [argument for argument in ARGUMENTS if argument.startswith("-")]
REQUIREMENTS = [argument for argument in ARGUMENTS if not argument.startswith("-")]
VENV = ROOT / FOLDER
PYTHON = VENV / "bin" / "python"
# Where the environment was made: its scripts start with this path, so a copy of it would run the original's tools.
HOME = VENV / "home"


def main() -> int:
    (ROOT / ".local").mkdir(exist_ok=True)
    with open(ROOT / ".local" / "setup.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        usable = works()
        if usable and all(is_installed(file) for file in REQUIREMENTS):
            return 0
        print(f"installing the tools of {' and '.join(REQUIREMENTS)} into {FOLDER} (about a minute)", flush=True)
        if not usable:
            made = run(sys.executable, "-m", "venv", "--clear", str(VENV))
            if made.returncode != 0:
                shutil.rmtree(VENV, ignore_errors=True)
                return fail(
                    "python3 cannot make a virtual environment: install its venv module "
                    "(Debian and Ubuntu: apt-get install python3-venv)",
                    made,
                )
            HOME.write_text(str(VENV))
        # What pip installs for one file may change what it has installed for another.
        for stamp in VENV.glob("requirements*.txt"):
            stamp.unlink()
        files = [argument for file in REQUIREMENTS for argument in ("-r", file)]
        installed = run(
            str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *OPTIONS, *files
        )
        if installed.returncode != 0:
            return fail(f"pip could not install {' and '.join(REQUIREMENTS)}", installed)
        for file in REQUIREMENTS:
            shutil.copyfile(ROOT / file, VENV / file)
    return 0


def works() -> bool:
    """Whether the environment was made here and its Python starts, with pip; not when the Python it was made with is gone."""
    made_here = HOME.exists() and HOME.read_text() == str(VENV)
    return made_here and PYTHON.exists() and run(str(PYTHON), "-c", "import pip").returncode == 0


def is_installed(file: str) -> bool:
    return (VENV / file).exists() and (VENV / file).read_text() == (ROOT / file).read_text()


def run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def fail(message: str, because: subprocess.CompletedProcess | None = None) -> int:
    if because is not None:
        print(because.stdout.strip(), file=sys.stderr)
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

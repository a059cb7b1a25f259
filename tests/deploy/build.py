"""Builds the functions as they are deployed, and checks what came out: `make build`, with ARCH as its first argument.

cargo-lambda cross-compiles with the zig from PyPI, but Rust's own standard library for the target has to be there.
"""

import os
import pathlib
import platform
import subprocess
import sys

import artifacts

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGETS = {"arm64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu"}
FLAGS = {"arm64": "--arm64", "x86_64": "--x86-64"}
# arm64 is what the template deploys unless told otherwise.
DEPLOYED = "arm64"


def main(wanted: str, functions: list[str]) -> int:
    if wanted and wanted not in TARGETS:
        return fail(f"ARCH is {wanted}: it must be arm64 or x86_64")
    architecture = wanted or (DEPLOYED if is_installed(DEPLOYED) else of_this_machine())
    if not is_installed(architecture):
        others = " or ".join(f"`make build ARCH={other}`" for other in TARGETS if is_installed(other))
        instead = f"; what can be built here is {others}" if others else ""
        return fail(
            f"Rust cannot build for {architecture} yet: "
            f"install its standard library with `rustup target add {TARGETS[architecture]}`{instead}"
        )
    if architecture != DEPLOYED:
        print(f"building for {architecture}: deploy it with the parameter Architecture={architecture} (its default is {DEPLOYED})")
    print("building (ten minutes the first time, for every program is optimised as a whole)", flush=True)
    packages = [argument for function in functions for argument in ("--package", function)]
    # Progress on a terminal, silence in CI.
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    command = ["cargo", "lambda", "build", "--locked", "--release", *quiet, FLAGS[architecture], "--output-format", "zip"]
    # It would ask rustup, which may not know the Rust in use, and have it install the target.
    command.append("--skip-target-check")
    # cargo-lambda and zig are there.
    path = str(ROOT / ".venv" / "bin") + os.pathsep + os.environ.get("PATH", "")
    built = subprocess.run(command + packages, cwd=ROOT, env={**os.environ, "PATH": path})
    if built.returncode != 0:
        return fail(f"cargo could not build for {architecture}")
    return artifacts.main(pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "lambda", architecture)


def is_installed(architecture: str) -> bool:
    """Whether Rust has the standard library, whoever installed it: the Rust that cargo uses."""
    command = [os.environ.get("RUSTC") or "rustc", "--print", "target-libdir", "--target", TARGETS[architecture]]
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return told.returncode == 0 and any(pathlib.Path(told.stdout.strip()).glob("libstd-*"))


def of_this_machine() -> str:
    return "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"


def fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

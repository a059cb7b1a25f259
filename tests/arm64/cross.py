"""The functions as they are deployed by default, for arm64, on an x86-64 machine: built, and wrapped so that they run under qemu.

    cross.py FOLDER FUNCTION...

FOLDER/functions then has a program for each function that the tests can start: `make test-arm64`. Everything is in FOLDER.
"""

import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import zipfile

import debian

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "tests" / "deploy"
sys.path.append(str(BUILD))

import build

# Of the releases of Debian, the first whose Rust is new enough, and the one whose C library (glibc 2.36) is near Lambda's (2.34).
RUST_RELEASE, RELEASE = "forky", "bookworm"
# Graviton2, the oldest that Lambda has. cargo-lambda builds for it (`-C target-cpu=neoverse-n1`).
CPU = "neoverse-n1"
# What the first run writes: 0.7 GB of tools, 0.8 GB of functions, and 1.8 GB of tests.
NEEDED_GB = 3.5


def main(folder: pathlib.Path, functions: list[str]) -> int:
    try:
        if platform.machine() != "x86_64":
            raise debian.Failure(
                f"this machine is {platform.machine()}, not x86_64: where it is arm64, `make test` runs the functions without emulation"
            )
        # Rather the Rust that builds what is deployed.
        has_rust = build.is_installed("arm64")
        tools(folder, with_rust=not has_rust)
        zips = zipped(folder, functions, {} if has_rust else {"RUSTC": str(folder / "tools" / "rustc")})
        wrap(folder, zips)
    except debian.Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


def tools(folder: pathlib.Path, with_rust: bool):
    """qemu, an arm64 C library, and Rust for arm64 unless the machine has it; once."""
    installed = folder / "tools"
    mark = installed / "installed"
    wanted = RELEASE + (f" {RUST_RELEASE}" if with_rust else "")
    if mark.exists() and mark.read_text() == wanted:
        return
    mirror = debian.mirror()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < NEEDED_GB * 10**9:
        raise debian.Failure(f"{folder} has {free / 10**9:.1f} GB of free disk: the first run needs about {NEEDED_GB} GB")
    print(f"downloading {'Rust for arm64 and ' if with_rust else ''}qemu from {mirror} into {folder}", flush=True)
    shutil.rmtree(installed, ignore_errors=True)
    older = debian.Release(RELEASE, mirror, installed / "apt")
    older.unpack(installed / "arm64", whole=["libc6:arm64"])
    older.unpack(installed / "qemu", alone=["qemu-user-static"])
    shutil.move(installed / "qemu" / "usr" / "bin" / "qemu-aarch64-static", installed / "qemu-aarch64")
    shutil.rmtree(installed / "qemu")
    if with_rust:
        rust(installed, debian.Release(RUST_RELEASE, mirror, installed / "apt"))
    shutil.rmtree(installed / "apt")
    mark.write_text(wanted)


def rust(installed: pathlib.Path, release: debian.Release):
    # libstd-rust-dev needs the library that is most of the compiler; of arm64 only the standard library is wanted.
    release.unpack(installed / "rust", whole=["libstd-rust-dev"], alone=["rustc", "libstd-rust-dev:arm64"])
    usr = installed / "rust" / "usr"
    # It needs its own C library, which is newer than the machine's.
    loader = [usr / "lib64" / "ld-linux-x86-64.so.2", "--library-path", usr / "lib" / "x86_64-linux-gnu"]
    script(installed / "rustc", *loader, "--argv0", "rustc", usr / "bin" / "rustc")


def zipped(folder: pathlib.Path, functions: list[str], env: dict[str, str]) -> list[pathlib.Path]:
    """`make build ARCH=arm64` in the folder."""
    target = folder / "build"
    command = [sys.executable, BUILD / "build.py", "arm64", *functions]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env, "CARGO_TARGET_DIR": str(target)})
    if done.returncode != 0:
        raise debian.Failure("the functions for arm64 could not be built")
    return [target / "lambda" / function / "bootstrap.zip" for function in functions]


def wrap(folder: pathlib.Path, zips: list[pathlib.Path]):
    """What is in the zips, each with a script that starts it under qemu."""
    qemu = [folder / "tools" / "qemu-aarch64", "-cpu", CPU, "-L", folder / "tools" / "arm64"]
    for archive in zips:
        name = archive.parent.name
        with zipfile.ZipFile(archive) as content:
            program = pathlib.Path(content.extract("bootstrap", folder / "programs" / name))
        program.chmod(0o755)
        script(folder / "functions" / name, *qemu, program)


def script(file: pathlib.Path, *command: str | pathlib.Path):
    """A program that becomes the command, so that signals reach the command and its end is seen."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, command))} "$@"\n')
    file.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]))

"""Writes what each deployed program consists of, as a CycloneDX bill of materials: `make sbom`, with the architecture, the folder for
the tool and the one of the programs as arguments, then the functions.

cargo-cyclonedx has no package at PyPI; it is compiled once, beside everything else that is built. It reads `Cargo.lock`, and writes a file
for every program of the workspace next to its `Cargo.toml`.
"""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSION = "0.5.9"
TARGETS = {"arm64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu"}
# Every program has these, and none has what only tests use.
EXPECTED = {"flag-schedules", "lambda_runtime", "tokio"}
OF_TESTS = {"insta", "proptest", "cloudwatch-stand-in", "lambda-stand-in", "local-stack"}


def main(architecture: str, tools: pathlib.Path, programs: pathlib.Path, functions: list[str]) -> int:
    if architecture not in TARGETS:
        sys.exit(f"ARCH is {architecture}: it must be arm64 or x86_64")
    tool = tools / "bin" / "cargo-cyclonedx"
    if not tool.exists():
        print("compiling cargo-cyclonedx (two minutes, once)", flush=True)
        install = ["cargo", "install", "--locked", "--quiet", "--root", str(tools), "--version", VERSION, "cargo-cyclonedx"]
        subprocess.run(install, cwd=ROOT, check=True)
    try:
        command = [str(tool), "cyclonedx", "--quiet", "--format", "json", "--describe", "binaries"]
        subprocess.run([*command, "--target", TARGETS[architecture]], cwd=ROOT, check=True)
        for function in functions:
            written = ROOT / "functions" / function / f"{function}_bin.cdx.json"
            check(function, json.loads(written.read_text()))
            target = programs / function / "bom.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            written.replace(target)
            print(target.relative_to(ROOT) if target.is_relative_to(ROOT) else target)
    finally:
        for folder in ("functions", "tests", "shared"):
            for left in (ROOT / folder).glob("**/*_bin.cdx.json"):
                left.unlink()
    return 0


def check(function: str, bom: dict) -> None:
    names = {component["name"] for component in bom["components"]}
    if bom["metadata"]["component"]["name"] != function or not EXPECTED <= names or OF_TESTS & names:
        sys.exit(f"{function}: the bill of materials is not right: lacks {EXPECTED - names}, has {OF_TESTS & names}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4:]))

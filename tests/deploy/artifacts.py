"""Tells the size of each built function, and fails when Lambda could not run it, or would be slow to load it.

    artifacts.py FOLDER arm64|x86_64

FOLDER is cargo-lambda's: one folder a function, with its bootstrap.zip in it. The functions are template.yaml's.
"""

import io
import os
import pathlib
import re
import sys
import zipfile

from cfnlint.decode import cfn_yaml
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

TEMPLATE = pathlib.Path(__file__).resolve().parents[2] / "template.yaml"
MACHINES = {"arm64": "EM_AARCH64", "x86_64": "EM_X86_64"}
# The C library of provided.al2023.
GLIBC = (2, 34)
# Somebody waits for the cold start of an HTTP function, and a large one takes longer to fetch.
HTTP_ZIP_LIMIT = 4 * 1024 * 1024


def main(folder: pathlib.Path, architecture: str) -> int:
    faults = []
    for name, is_http in functions().items():
        archive = folder / name / "bootstrap.zip"
        if not archive.exists():
            faults.append(f"{name}: there is no {os.path.relpath(archive)}")
            continue
        size = archive.stat().st_size
        limit = HTTP_ZIP_LIMIT if is_http else None
        if limit is not None and size > limit:
            faults.append(f"{name}: the zip has {size} bytes, and may have {limit}")
        try:
            needed, unfit = inspect(archive, architecture)
        except (zipfile.BadZipFile, KeyError, ELFError) as error:
            faults.append(f"{name}: {archive} does not hold a program named bootstrap: {error}")
            continue
        faults += [f"{name}: {fault}" for fault in unfit]
        print(f"{name:20} {size / 1024 / 1024:6.2f} MiB, needs glibc {needed}  {os.path.relpath(archive)}")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def functions() -> dict[str, bool]:
    """The programs of the template, and whether the API calls them."""
    resources = cfn_yaml.load(str(TEMPLATE))["Resources"].values()
    return {
        resource["Metadata"]["BuildProperties"]["Binary"]: any(
            event["Type"] == "HttpApi" for event in resource["Properties"].get("Events", {}).values()
        )
        for resource in resources
        if resource["Type"] == "AWS::Serverless::Function"
    }


def inspect(archive: pathlib.Path, architecture: str) -> tuple[str, list[str]]:
    """The newest version of glibc that the program in the zip needs, and why Lambda could not run it."""
    with zipfile.ZipFile(archive) as content:
        # Lambda runs it as the file system says that it may be run.
        mode = content.getinfo("bootstrap").external_attr >> 16
        program = ELFFile(io.BytesIO(content.read("bootstrap")))
    faults = []
    if mode & 0o111 != 0o111:
        faults.append(f"bootstrap has mode {mode & 0o777:o}: not everybody may run it")
    if program["e_machine"] != MACHINES[architecture]:
        faults.append(f"it is built for {program['e_machine']}, not for {MACHINES[architecture]}")
    newest = (0,)
    for symbol_version in versions(program):
        number = re.fullmatch(r"GLIBC_(\d+(?:\.\d+)*)", symbol_version)
        # Other names, such as GLIBC_ABI_DT_RELR, came with versions after ours.
        newer = symbol_version.startswith("GLIBC_")
        if number:
            version = tuple(int(part) for part in number[1].split("."))
            newest = max(newest, version)
            newer = version > GLIBC
        if newer:
            faults.append(f"it needs {symbol_version}, and Lambda has glibc {dotted(GLIBC)}")
    return dotted(newest) if newest != (0,) else "none", faults


def versions(program: ELFFile) -> list[str]:
    """The versions of symbols that the program needs of its libraries: what `readelf --version-info` shows."""
    sections = [section for section in program.iter_sections() if isinstance(section, GNUVerNeedSection)]
    return sorted({needed.name for section in sections for _, all_of in section.iter_versions() for needed in all_of})


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2]))

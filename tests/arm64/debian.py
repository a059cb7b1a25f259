"""Debian packages of any release and architecture, unpacked into a folder: nothing is installed, and no root is needed.

apt gets lists, a cache and a package status of its own, so that the machine's remain as they are. It takes the machine's mirror and
checks its signatures. Standard library only.
"""

import os
import pathlib
import platform
import re
import shutil
import subprocess

KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Failure(Exception):
    """What went wrong, and what to do."""


def mirror() -> str:
    """The mirror that this machine is configured for, or DEBIAN_MIRROR."""
    if not is_debian():
        raise Failure("qemu and Rust for arm64 come from Debian's packages: run this on Debian, or in a container of it")
    missing = next((program for program in ("apt-get", "dpkg-deb") if not shutil.which(program)), None)
    if missing:
        raise Failure(f"{missing} is missing: it unpacks Debian's packages")
    if not KEYRING.exists():
        raise Failure(f"{KEYRING} is missing: install it with `apt-get install debian-archive-keyring`")
    given = os.environ.get("DEBIAN_MIRROR")
    if given:
        return given
    sources = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages"]).split()
    found = next((source for source in sources if re.search("://.*/debian/$", source)), None)
    if found is None:
        raise Failure("apt is configured for no mirror of Debian: name one, such as DEBIAN_MIRROR=http://deb.debian.org/debian")
    return found


def is_debian() -> bool:
    try:
        return platform.freedesktop_os_release()["ID"] == "debian"
    except OSError:
        return False


class Release:
    """One release of Debian, such as bookworm."""

    def __init__(self, name: str, mirror: str, folder: pathlib.Path):
        self.folder = folder / name
        for needed in ("lists/partial", "cache/archives/partial"):
            (self.folder / needed).mkdir(parents=True, exist_ok=True)
        # Nothing is installed, so that what a package needs is downloaded too.
        (self.folder / "status").write_text("")
        sources = self.folder / "sources.list"
        sources.write_text(f"deb [signed-by={KEYRING}] {mirror} {name} main\n")
        settings = [
            f"Dir::Etc::sourcelist={sources}",
            "Dir::Etc::sourceparts=/dev/null",
            "Dir::Etc::preferences=/dev/null",
            "Dir::Etc::preferencesparts=/dev/null",
            f"Dir::State={self.folder}",
            f"Dir::State::status={self.folder}/status",
            f"Dir::Cache={self.folder}/cache",
            "APT::Architecture=amd64",
            "APT::Architectures::=amd64",
            "APT::Architectures::=arm64",
            "APT::Install-Recommends=false",
            # As root, apt would download as another user, who may not write into this folder.
            "APT::Sandbox::User=root",
            "Acquire::Languages=none",
            # A mirror may be a snapshot.
            "Acquire::Check-Valid-Until=false",
        ]
        self.options = [argument for setting in settings for argument in ("-o", setting)]
        self.apt("update")

    def apt(self, *command: str, cwd: pathlib.Path | None = None):
        run(["apt-get", "--quiet", "--quiet", *self.options, *command], cwd)

    def unpack(self, into: pathlib.Path, whole: list[str] = (), alone: list[str] = ()):
        """The packages `whole` with all that they depend on, and the packages `alone` without."""
        archives = self.folder / "cache" / "archives"
        if whole:
            self.apt("install", "--yes", "--download-only", *whole)
        if alone:
            self.apt("download", *alone, cwd=archives)
        into.mkdir(parents=True, exist_ok=True)
        for archive in sorted(archives.glob("*.deb")):
            run(["dpkg-deb", "--extract", str(archive), str(into)])
            archive.unlink()


def run(command: list[str], cwd: pathlib.Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failure("\n".join([*done.stdout.splitlines(), f"{command[0]} failed"]))
    return done.stdout

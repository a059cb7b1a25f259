"""Checks what `make` needs before anything is installed or built: `preflight.py`, and for `make run` `preflight.py run`,
which also checks the settings. Every fault is one line on standard error.

Standard library only. The file parses with Python 3.6, so that an old Python gets the line below instead of a traceback.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "Python {} is too old: install Python 3.11 or newer, and if it has another name, add it to the command, "
        "such as PYTHON=python3.13".format(sys.version.split()[0])
    )

import ipaddress
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / (os.environ.get("CARGO_TARGET_DIR") or "target")
# What the first `make run` writes: 1.2 GB of builds, 0.9 GB of tools, and what cargo downloads.
NEEDED_GB = 2.5
URL = "it must be a URL such as postgres://USER:PASSWORD@HOST:5432/DATABASE"
# PostgreSQL's SSLRequest; a server answers it with one byte, before any login.
SSL_REQUEST = struct.pack("!II", 8, 80877103)


def main(arguments):
    faults = list(tools()) + list(disk())
    if arguments == ["run"]:
        faults += settings()
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def tools():
    """Rust and a C compiler: AWS-LC is written in C, and Rust links with `cc`."""
    if not shutil.which("cargo") or not shutil.which("rustc"):
        yield "cargo is missing: install Rust, see https://rustup.rs"
    else:
        yield from rust()
    compiler = (os.environ.get("CC") or "cc").split()[0]
    if not shutil.which(compiler):
        yield (
            f"the C compiler {compiler} is missing: install one "
            "(Debian and Ubuntu: apt-get install gcc libc6-dev; macOS: xcode-select --install)"
        )


def rust():
    needed = re.search(r'^rust-version = "([\d.]+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    asked = subprocess.run(["rustc", "--version"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.match(r"rustc (\d+\.\d+\.\d+)", asked.stdout)
    if not found:
        yield f"rustc does not work: {' '.join(asked.stdout.split())}"
    elif number(found[1]) < number(needed):
        yield f"Rust {found[1]} is too old: {needed} or newer is needed (`rustup update stable`)"


def number(version):
    return [int(part) for part in version.split(".")]


def disk():
    for folder in (ROOT / ".local", TARGET):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            yield f"cannot write into {folder}: {error.strerror}"
            return
    free = shutil.disk_usage(TARGET).free
    if not (TARGET / "local" / "stack").exists() and free < NEEDED_GB * 10**9:
        yield f"{TARGET} has {free / 10**9:.1f} GB of free disk: the first build needs about {NEEDED_GB} GB"


def settings():
    port, fault = whole_number("PORT", 9000)
    if fault:
        yield fault
    elif not 1 <= port <= 65535:
        yield f"PORT is {port}: it must be a number from 1 to 65535"
    elif not can_listen("127.0.0.1", port):
        yield f"port {port} is taken: stop what listens there, or choose another with `make run PORT=...`"
    tick, fault = whole_number("TICK_SECONDS", 60)
    if fault:
        yield fault
    elif tick < 1:
        yield f"TICK_SECONDS is {tick}: it must be at least 1"
    yield from containers(os.environ.get("CONTAINERS_AT"))
    origins = os.environ.get("CORS_ALLOWED_ORIGINS") or ""
    if not re.fullmatch("(https?://[^,/ ]+(,https?://[^,/ ]+)*)?", origins):
        yield (
            f"CORS_ALLOWED_ORIGINS is {origins}: it must be origins such as http://localhost:5173, separated by commas"
        )
    authorizer = os.environ.get("GATEWAY_AUTHORIZER") or "off"
    if authorizer not in ("on", "off"):
        yield f"GATEWAY_AUTHORIZER is {authorizer}: it must be on or off"
    authorities = os.environ.get("DATABASE_CA_FILE")
    if authorities and not os.access(authorities, os.R_OK):
        yield f"DATABASE_CA_FILE is {authorities}: the file cannot be read"
    url = os.environ.get("DATABASE_URL")
    if url:
        yield from database(url)


def whole_number(name, default):
    """The number, and what is wrong with it."""
    text = os.environ.get(name) or str(default)
    if not re.fullmatch("[0-9]{1,9}", text):
        return 0, f"{name} is {text}: it must be a positive whole number"
    return int(text), None


def can_listen(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        # Connections of an earlier run that linger do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except OSError:
            return False
    return True


def containers(text):
    if not text:
        return
    try:
        address = str(ipaddress.ip_address(text))
    except ValueError:
        yield f"CONTAINERS_AT is {text}: it must be an IP address"
        return
    if not can_listen(address, 0):
        yield f"CONTAINERS_AT is {text}: no network interface of this machine has this address"


def database(url):
    """Whether a PostgreSQL server answers. Nothing that is printed has the URL's credentials or parameters."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        yield f"DATABASE_URL is not a URL; {URL}"
        return
    if scheme.lower() not in ("postgres", "postgresql"):
        known = re.fullmatch(r"[A-Za-z][A-Za-z0-9+.:-]{0,30}", scheme)
        yield f"DATABASE_URL is {f'a {scheme}:// URL' if known else 'a URL of another scheme'}; {URL}"
        return
    place = rest.partition("@")[2] if "@" in rest else rest
    hosts = re.split("[/?]", place, maxsplit=1)[0]
    query = urllib.parse.parse_qs(place.partition("?")[2])
    if not hosts or "host" in query or "hostaddr" in query or "direct" in query.get("sslnegotiation", []):
        # The service's own parser knows these.
        return
    causes = []
    for host in hosts.split(","):
        cause = unreachable(host)
        if cause is None:
            return
        causes.append(cause)
    shown = place.partition("?")[0]
    # `.local/env` has it.
    hint = "; this terminal has the settings of an earlier run: open a new one" if "API_URL" in os.environ else ""
    yield f"cannot reach the database of DATABASE_URL ({scheme}://{shown}): {causes[-1]}{hint}"


def unreachable(host):
    """Why no PostgreSQL server answers at `host:port`; none when one does."""
    parts = re.fullmatch(r"(\[[^]]*\]|[^:]*)(?::(.*))?", host)
    if not parts:
        return "its host cannot be read; an IPv6 address is written in brackets"
    name, port = urllib.parse.unquote(parts[1].strip("[]")), parts[2] or "5432"
    if not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        return "its port is not a number from 1 to 65535"
    try:
        with connect(name, int(port)) as connection:
            connection.sendall(SSL_REQUEST)
            answer = connection.recv(64)
    except TimeoutError:
        return "no answer within 5 seconds"
    except OSError as error:
        return error.strerror or str(error)
    if answer in (b"S", b"N") or answer.startswith(b"E"):
        return None
    return "what listens there is not a PostgreSQL server"


def connect(name, port):
    if name.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(5)
        connection.connect(f"{name}/.s.PGSQL.{port}")
        return connection
    return socket.create_connection((name, port), timeout=5)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

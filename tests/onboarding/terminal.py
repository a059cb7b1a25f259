"""Types commands into an interactive shell in a terminal, as somebody does who pastes them: `terminal.py SECONDS SHELL...`.

Reads a JSON list of texts on standard input and prints a JSON list of what the terminal showed for each. Fails when a text
does not come to an end within SECONDS, as one with an open quote. Standard library only.
"""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time


def main(seconds: int, shell: list[str]) -> int:
    texts = json.load(sys.stdin)
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="dumb", PS1="", PS2="", HISTFILE="/dev/null")
        os.execvp(shell[0], shell)
    # Without a size, programs such as psql page whatever they print.
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    shown = []
    try:
        for at, text in enumerate(texts):
            # The terminal also shows what is typed, and that is not yet the end.
            type_into(terminal, f"{text}\nprintf '%s-of-text-{at}\\n' end\n")
            answer = read_until(terminal, f"end-of-text-{at}\r\n", time.monotonic() + seconds)
            if answer is None:
                print(f"{' '.join(shell)} still waits for the end of:\n{text}", file=sys.stderr)
                return 1
            shown.append(answer.replace("\r\n", "\n"))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    json.dump(shown, sys.stdout)
    return 0


def type_into(terminal: int, text: str) -> None:
    sent = text.encode()
    while sent:
        sent = sent[os.write(terminal, sent[:512]) :]


def read_until(terminal: int, end: str, deadline: float) -> str | None:
    found = b""
    while end.encode() not in found:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return None
        try:
            found += os.read(terminal, 65536)
        except OSError:
            # The shell has ended.
            return None
    return found.decode(errors="replace").split(end)[0]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))

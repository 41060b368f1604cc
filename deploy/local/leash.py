"""A leash: runs a program in a process group of its own and ends that whole group when its holder goes away, however it goes.

    python leash.py GRACE_SECONDS LOG_FILE PROGRAM ARGUMENT...

The holder keeps this process's standard input open and never writes to it. End of file there (the holder closed it, exited, or was killed with
-9) or SIGTERM ends the group: SIGTERM, and SIGKILL after the grace. The first line on standard output is the program's pid, or `error ...` if
it could not be started; the program's own output goes to the end of LOG_FILE. It imports no other module of ours and works on any POSIX system;
should the leash itself be killed with -9, Linux still passes SIGTERM on to the program, other systems do not.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

PR_SET_PDEATHSIG = 1


def start(argv: list[str], log_file: str) -> subprocess.Popen[bytes]:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def in_child() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    with open(log_file, "ab") as log:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=in_child)


def signal_group(group: int, number: int) -> bool:
    """Whether anyone was left to signal. A group whose last members are being reaped answers EPERM on some systems: count it as gone."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def end_group(program: subprocess.Popen[bytes], grace: float) -> None:
    group = program.pid  # start_new_session made the program its group's leader
    deadline = time.monotonic() + grace
    alive = signal_group(group, signal.SIGTERM)
    while alive and time.monotonic() < deadline:
        time.sleep(0.05)
        program.poll()
        alive = signal_group(group, 0)
    signal_group(group, signal.SIGKILL)
    program.wait()


def main() -> int:
    grace, log_file, argv = float(sys.argv[1]), sys.argv[2], sys.argv[3:]
    # Signals arrive as bytes on this pipe, so that one select waits for all there is to wait for and an idle leash costs no CPU.
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        program = start(argv, log_file)
    except OSError as error:
        print(f"error {error}", flush=True)
        return 127
    with suppress(BrokenPipeError):  # a holder that is gone already shows as end of file below
        print(program.pid, flush=True)
    while program.poll() is None:
        readable, _, _ = select.select([0, wake], [], [])
        told_to_end = wake in readable and signal.SIGTERM in os.read(wake, 4096)
        if 0 in readable or told_to_end:
            break
    end_group(program, grace)
    code = program.returncode
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())

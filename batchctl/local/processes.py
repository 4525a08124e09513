"""Start, recognise and stop the background processes of a local cloud.

A process is recognised by a marker in its environment (`BATCHCTL_PROCESS=<home>:<role>`), which
children inherit: so what a crashed command or a killed MiniStack left behind is found without any
state file, a recycled pid is never mistaken for ours, and another checkout's processes are never
touched.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

MARKER: Final = "BATCHCTL_PROCESS"

# Servers started here, which this process, while it lives, must reap when they end.
_children: Final[set[int]] = set()


@dataclass(frozen=True)
class ProcessId:
    """A process that cannot be confused with a later one that got the same pid."""

    pid: int
    started: int  # clock ticks since boot, field 22 of /proc/<pid>/stat

    def alive(self) -> bool:
        return identify(self.pid) == self


def identify(pid: int) -> ProcessId | None:
    """Return the identity of a live process, or None when there is none (or it is a zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the name before it may contain anything
    if fields[0] in "ZX":
        if pid in _children:
            os.waitpid(pid, os.WNOHANG)
            _children.discard(pid)
        return None
    return ProcessId(pid, int(fields[19]))


def spawn(
    home: Path,
    role: str,
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    log: Path,
) -> ProcessId:
    """Start a server in a session of its own, marked as `role` of the cloud at `home`.

    It outlives this process. Raises BatchctlError when it cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # Not a Popen, which insists on the end of its child.
    try:
        pid = os.posix_spawnp(
            command[0],
            tuple(command),
            {**env, MARKER: _marker(home, role)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, append, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE],  # Python ignores it; a server may not expect that
        )
    except OSError as error:
        raise _cannot_start(command, error) from error
    _children.add(pid)
    identity = identify(pid)
    if identity is None:
        raise BatchctlError(f"{role} ended as soon as it was started.{tail(log)}")
    return identity


def run(
    home: Path,
    role: str,
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    log: Path,
    cwd: Path,
) -> int:
    """Run a program to its end, writing a new `log`, and return its exit status.

    It is marked like a server: should this command be killed, `down` ends what it was running.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**env, MARKER: _marker(home, role)},
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise _cannot_start(command, error) from error
    with child:
        try:
            return child.wait()
        except BaseException:
            stop(home, role)
            raise


def _cannot_start(command: Sequence[str | Path], error: OSError) -> BatchctlError:
    return BatchctlError(f"{command[0]} cannot be started ({error.strerror}). Run: make setup")


def find(home: Path, role: str | None = None) -> list[ProcessId]:
    """Return the live processes of the cloud at `home`, of one role or of all, with children."""
    wanted = f"{MARKER}={_marker(home, role or '')}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:  # gone meanwhile, or another person's
            continue
        for variable in environ.split(b"\0"):
            if variable == wanted if role else variable.startswith(wanted):
                identity = identify(int(entry.name))
                if identity is not None:
                    found.append(identity)
    return found


def stop(home: Path, role: str | None = None, *, grace_s: float = 20.0) -> int:
    """Stop the processes of the cloud at `home`, of one role or of all, and return how many.

    Each is asked with SIGTERM and, when `grace_s` is over, ended with SIGKILL. Children that appear
    or are orphaned meanwhile are ended too: the search is repeated until it finds nothing.
    """
    stopped: set[ProcessId] = set()
    patience = time.monotonic() + grace_s
    asked: set[ProcessId] = set()
    while alive := find(home, role):
        forceful = time.monotonic() >= patience
        for process in alive:
            if forceful or process not in asked:
                send(process, signal.SIGKILL if forceful else signal.SIGTERM)
                asked.add(process)
        stopped.update(alive)
        wait_until_gone(alive, deadline_s=0.2)
    # One that is ending has no environment to be found by any more, and still holds its files.
    wait_until_gone(stopped, deadline_s=grace_s)
    return len(stopped)


def send(process: ProcessId, number: signal.Signals) -> None:
    """Signal a process if it is still the one that was meant."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # The handle pins the process, so what is checked is what is signalled.
        if process.alive():
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def wait_until_gone(processes: Iterable[ProcessId], *, deadline_s: float) -> bool:
    """Return whether all the processes ended within `deadline_s` seconds."""
    return wait_for(
        lambda: not any(process.alive() for process in processes), deadline_s=deadline_s
    )


def wait_for(condition: Callable[[], bool], *, deadline_s: float, interval_s: float = 0.02) -> bool:
    """Return whether `condition` became true within `deadline_s` seconds."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval_s)
    return True


def tail(log: Path, lines: int = 15) -> str:
    """Return the end of a log as the closing part of an error message; empty when there is none."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        return ""
    return "" if not text else f" The end of {log}:\n" + "\n".join(f"  | {line}" for line in text)


def _marker(home: Path, role: str) -> str:
    return f"{home.resolve()}:{role}"

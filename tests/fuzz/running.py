"""Many mutations in several processes. One that takes too long is stopped and told; one that can't be stopped is ended with its process."""

import multiprocessing
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType

from tests.fuzz.mutate import pick
from tests.fuzz.seeds import Pool
from tests.fuzz.targets import Targets, in_folder

CPU_S = 2.0  # that an input may take
HUNG_S = 90.0  # of the clock on the wall, after which a process that says nothing has hung in a place that no signal reaches
MEMORY = 3_000_000_000  # bytes of address space that a process may take beside what it is forked with: a test process may have torch in it


class TooLong(BaseException):
    """Not an Exception: what is under test must not catch it."""


@dataclass
class Finding:
    """An input that was not read as it should be."""

    kind: str
    number: int
    what: str
    data: bytes


@dataclass
class Tally:
    done: int = 0
    documents: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest: tuple[float, str, int] = (0.0, "", 0)

    def add(self, other: "Tally") -> None:
        self.done += other.done
        self.documents += other.documents
        self.refused += other.refused
        self.kinds += other.kinds
        self.findings += other.findings
        self.slowest = max(self.slowest, other.slowest)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises TooLong after so many seconds of CPU. For the main thread; regular expressions and Python hear it, a library in C at its end only."""

    def ring(_: int, __: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def one(targets: Targets, kind: str, number: int, data: bytes, tally: Tally, cpu_s: float = CPU_S) -> None:
    """Read one input and note what came of it."""
    began = time.process_time()
    what = ""
    try:
        with limited(cpu_s):
            ends = targets.read(kind, data)
        tally.documents += ends.documents
        tally.refused += ends.refused
    except TooLong:
        what = f"took more than {cpu_s:g} s of CPU\n{traceback.format_exc(limit=-6)}"
    except Exception:  # noqa: BLE001 whatever it is, it is what is looked for
        what = traceback.format_exc(limit=-8)
    took = time.process_time() - began
    if not what and took > cpu_s:
        what = f"took {took:.1f} s of CPU, in a place that no signal reaches"
    tally.done += 1
    tally.kinds[kind] += 1
    tally.slowest = max(tally.slowest, (took, kind, number))
    if what:
        tally.findings.append(Finding(kind, number, what, data))


def run(seed: int, first: int, count: int, pool: Pool, processes: int, most: int, progress: Callable[[Tally], None]) -> Tally:
    """Numbers `first` to `first + count`, dealt out to the processes; ends early at `most` findings. A process that hangs or dies is a finding, too."""
    context = multiprocessing.get_context("fork")
    total = Tally()
    crews = []
    for n in range(processes):
        here, there = context.Pipe(duplex=False)
        numbers = range(first + n, first + count, processes)
        crew = context.Process(target=_work, args=(seed, numbers, pool, there), daemon=True)
        crew.start()
        there.close()
        crews.append((crew, here))
    open_ends: dict[Connection, tuple[object, int]] = {here: (crew, -1) for crew, here in crews}
    heard = dict.fromkeys(open_ends, time.monotonic())
    while open_ends:
        for here in wait(list(open_ends), timeout=1.0):
            assert isinstance(here, Connection)
            try:
                said = here.recv()
            except EOFError:
                crew, number = open_ends.pop(here)
                crew.join()  # type: ignore[attr-defined]
                if number >= 0:
                    total.findings.append(_lost(seed, number, pool, f"its process died with {crew.exitcode}"))  # type: ignore[attr-defined]
                elif crew.exitcode:  # type: ignore[attr-defined]
                    raise RuntimeError(f"a process of the fuzz run died with {crew.exitcode} outside of any input") from None  # type: ignore[attr-defined]
                continue
            heard[here] = time.monotonic()
            crew, _ = open_ends[here]
            if isinstance(said, int):  # the number that is begun; -1: all done
                open_ends[here] = (crew, said)
            else:
                total.add(said)
                progress(total)
        for here, (crew, number) in list(open_ends.items()):
            if time.monotonic() - heard[here] > HUNG_S:
                crew.kill()  # type: ignore[attr-defined]
                del open_ends[here]
                total.findings.append(
                    _lost(seed, number, pool, f"said nothing for {HUNG_S:g} s: its process was ended, with what it had still to do")
                )
        if len(total.findings) >= most:
            break
    for crew, _ in crews:
        crew.kill()
        crew.join()
    return total


def _lost(seed: int, number: int, pool: Pool, what: str) -> Finding:
    kind, data = pick(seed, number, pool)
    return Finding(kind, number, what, data)


def _work(seed: int, numbers: range, pool: Pool, there: Connection) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    begun = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (begun + MEMORY, hard))
    with in_folder() as folder:
        targets = Targets(Path(folder))
        warm_up(targets, pool)
        tally, told = Tally(), time.monotonic()
        for number in numbers:
            there.send(number)
            kind, data = pick(seed, number, pool)
            one(targets, kind, number, data, tally)
            if tally.findings or time.monotonic() - told > 1.0:
                there.send(tally)
                tally, told = Tally(), time.monotonic()
        there.send(tally)
        there.send(-1)
    there.close()


def warm_up(targets: Targets, pool: Pool) -> None:
    """What is imported at first use is not counted to the first input."""
    for kind in ("feed", "mail", "html", "opml"):
        for data in pool[kind][:3]:
            targets.read(kind, data)

"""`python -m tests.fuzz` (`make fuzz`): 100,000 mutations of feeds, mails and the rest, each of which must end as documents or be refused by name.

`python -m tests.fuzz FILE…` reads inputs that were found again; `--number N` makes one mutation again and reads it.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from services.trainer.runs.gather import data_folder
from tests.fuzz.mutate import pick
from tests.fuzz.running import CPU_S, Finding, Tally, one, run, warm_up
from tests.fuzz.seeds import Pool, own, with_data
from tests.fuzz.targets import Targets, in_folder

FOUND = Path("build/fuzz")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="inputs that were found, KIND-SEED-NUMBER: read again")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first mutation")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--number", type=int, help="only this mutation")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--most", type=int, default=20, help="findings after which to stop")
    parser.add_argument("--own", action="store_true", help="the repository's own samples only, though other projects' files are at hand")
    parser.add_argument("--data", help="where these are, if not at FEEDLOOP_DATA or ../shared/data")
    given = parser.parse_args()
    if given.files:
        sys.exit(again([(path.name.split("-")[0], -1, path.read_bytes()) for path in given.files]))
    pool, what = pool_of(given.own, given.data)
    if given.number is not None:
        kind, data = pick(given.seed, given.number, pool)
        sys.exit(again([(kind, given.number, data)]))
    print(
        f"{given.count:,} mutations from seed {given.seed} of {sum(map(len, pool.values())):,} files ({what}), {given.processes} processes",
        flush=True,
    )
    began = told = time.monotonic()
    shown = 0

    def progress(tally: Tally) -> None:
        nonlocal told, shown
        for finding in tally.findings[shown:]:
            tell(finding, given.seed)
        shown = len(tally.findings)
        if time.monotonic() - told > 15:
            told = time.monotonic()
            print(f"  {tally.done:,} done, {tally.done / (told - began):,.0f} a second, {len(tally.findings)} findings", flush=True)

    tally = run(given.seed, given.first, given.count, pool, given.processes, given.most, progress)
    seconds = time.monotonic() - began
    print(
        f"{tally.done:,} mutations in {seconds:,.0f} s: {tally.documents:,} documents; refused: {_words(tally.refused)}; by kind: {_words(tally.kinds)}"
    )
    print(f"slowest: {tally.slowest[0]:.2f} s of CPU (of {CPU_S:g}), {tally.slowest[1]} {tally.slowest[2]}")
    progress(tally)
    print(f"{len(tally.findings)} findings")
    sys.exit(1 if tally.findings or tally.done < given.count else 0)


def pool_of(only_own: bool, data: str | None) -> tuple[Pool, str]:
    """The seed files, and in words which they are."""
    if not only_own:
        try:
            return with_data(data_folder(data)), "the samples, and feeds and mail of the data folder"
        except SystemExit:
            if data:
                raise
    return own(), "the repository's samples"


def tell(finding: Finding, seed: int) -> None:
    FOUND.mkdir(parents=True, exist_ok=True)
    path = FOUND / f"{finding.kind}-{seed}-{finding.number}"
    path.write_bytes(finding.data)
    print(f"\nseed {seed}, number {finding.number}, {finding.kind}, {len(finding.data)} bytes: {finding.what.strip()}")
    print(f"again: python -m tests.fuzz {path}", flush=True)


def again(inputs: list[tuple[str, int, bytes]]) -> int:
    """Read these; 1 where any is a finding."""
    with in_folder() as folder:
        targets, tally = Targets(Path(folder)), Tally()
        warm_up(targets, own())
        for kind, number, data in inputs:
            one(targets, kind, number, data, tally)
    for finding in tally.findings:
        print(f"{finding.kind} {finding.number}: {finding.what}")
    print(
        f"{tally.done} read: {tally.documents} documents; refused: {_words(tally.refused)}; {tally.slowest[0]:.2f} s; {len(tally.findings)} findings"
    )
    return 1 if tally.findings else 0


def _words(counts: "dict[str, int]") -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1]) if count) or "none"


if __name__ == "__main__":
    main()

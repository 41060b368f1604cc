"""Speed and memory of reading a large mbox: `python -m tests.bench.mbox --mb 200` makes the file, reads it as ingest does, and prints the figures.

Memory is to be flat: the peak is the same for 100 MB and for 1,000.
"""

import argparse
import asyncio
import json
import random
import tempfile
import threading
import time
from base64 import encodebytes
from pathlib import Path

from services.ingest.items import RawItem
from services.ingest.readers.mbox import MboxReader
from services.ingest.readers.mboxparts import read_part
from tests.bench.__main__ import machine

WORDS = "the council river market bridge of and a to vote budget winter school railway harbour said on night report open new".split()
PAGE = "<html><head><style>p{margin:0}</style></head><body>{}<p><a href='https://desk.example/{n}'>Read more</a></p></body></html>"


def one(number: int, seed: random.Random) -> bytes:
    """A newsletter of 1 to 60 kB: plain text beside HTML, every fifth with a file of up to 400 kB."""
    lines = [" ".join(seed.choices(WORDS, k=12)) for _ in range(seed.randint(5, 200))]
    head = (
        f"From: Desk <desk{number % 40}@desk.example>\nSubject: Letter {number} of the desk\nMessage-ID: <{number}@desk.example>\nMIME-Version: 1.0\n"
    )
    parts = [f"Content-Type: text/plain; charset=utf-8\n\n{chr(10).join(lines)}\n".encode()]
    markup = PAGE.replace("{}", "".join(f"<p>{line}</p>\n" for line in lines)).replace("{n}", str(number))
    parts.append(f"Content-Type: text/html; charset=utf-8\n\n{markup}\n".encode())
    if number % 5 == 0:
        name = b'Content-Type: application/pdf\nContent-Disposition: attachment; filename="a.pdf"\nContent-Transfer-Encoding: base64\n\n'
        parts.append(name + encodebytes(seed.randbytes(seed.randint(1_000, 300_000))))
    kind = "mixed" if len(parts) > 2 else "alternative"
    body = b"".join(b"--b\n" + part for part in parts) + b"--b--\n"
    return (head + f'Content-Type: multipart/{kind}; boundary="b"\n\n').encode() + body


def make(path: Path, size: int) -> int:
    """Write an mbox of about `size` bytes; returns how many mails."""
    seed, count, written = random.Random(5), 0, 0
    with path.open("wb") as file:
        while written < size:
            written += file.write(b"From desk@desk.example Sat Nov 21 10:00:00 2026\n" + one(count, seed) + b"\n")
            count += 1
    return count


def resident() -> float:
    """MB of this process in memory now."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def split(path: Path) -> float:
    """MB a second of only finding the mails."""
    began, size, offset = time.perf_counter(), path.stat().st_size, 0
    with path.open("rb") as file:
        while offset < size:
            offset = read_part(file, offset, 0, size).end
    return size / 1_000_000 / (time.perf_counter() - began)


async def read(path: Path) -> tuple[int, int]:
    """(mails, the most in a batch)."""
    mails = most = 0
    async for batch in MboxReader(path).read({}):
        mails += sum(isinstance(item, RawItem) for item in batch.items)
        most = max(most, len(batch.items))
    return mails, most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=200, help="size of the file")
    size = parser.parse_args().mb * 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.mbox"
        count = make(path, size)
        small = Path(folder) / "small.mbox"
        make(small, 2_000_000)
        asyncio.run(read(small))  # what is imported at first use is not counted
        before, peak, ended = resident(), [0.0], threading.Event()

        def sample() -> None:
            while not ended.wait(0.02):
                peak[0] = max(peak[0], resident())

        sampler = threading.Thread(target=sample)
        sampler.start()
        began, cpu = time.perf_counter(), time.process_time()
        mails, most = asyncio.run(read(path))
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
        ended.set()
        sampler.join()
        alone = split(path)
        megabytes = path.stat().st_size / 1_000_000
    assert mails == count, f"{count} mails were written and {mails} read"
    print(f"{machine()}: an mbox of {megabytes:.0f} MB, {count} mails, parsed to text; at most {most} at a time")
    figures = {
        "megabytes_a_second": round(megabytes / seconds, 1),
        "megabytes_a_cpu_second": round(megabytes / cpu_seconds, 1),
        "megabytes_a_second_only_split": round(alone, 1),
        "mails_a_second": round(mails / seconds, 1),
        "mb_resident_before": round(before),
        "mb_resident_peak": round(peak[0]),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""The files that mutations begin with, by kind: the samples here and in deploy/sample, and, where they are at hand, other projects' feeds and mails."""

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from deploy.sample.build import build
from services.ingest.readers.mboxparts import read_part
from tests.fuzz.samples import BY_KIND

MOST = 64 * 1024  # bytes of an input: what is longer is cut
Pool = dict[str, list[bytes]]


@cache
def own() -> Pool:
    """The repository's own samples: the same on every machine."""
    pool: Pool = {kind: list(samples) for kind, samples in BY_KIND.items()}
    with tempfile.TemporaryDirectory() as folder:
        manifest = build(Path(folder))
        for name, file in manifest.feeds.items():
            pool["json" if name.endswith(".json") else "feed"].append(file.path.read_bytes()[:MOST])
        box = manifest.mailbox.path
        pool["mbox"].append(box.read_bytes()[:MOST])
        pool["mail"] += [mail[:MOST] for mail in _mails(box)]
    return pool


def with_data(folder: Path) -> Pool:
    """The own samples and the files of feeds/ and mail/ in the data folder, in the order of their names."""
    pool: Pool = {kind: list(samples) for kind, samples in own().items()}
    for path in sorted((folder / "feeds").rglob("*")):
        if path.is_file() and path.name != "LICENSE":
            pool[{".json": "json", ".opml": "opml"}.get(path.suffix, "feed")].append(path.read_bytes()[:MOST])
    for path in sorted((folder / "mail").rglob("*")):
        if path.is_file():
            data = path.read_bytes()[:MOST]
            pool["html" if path.suffix == ".html" else "mbox" if path.suffix == ".mbox" else "mail"].append(data)
    for path in sorted((folder / "newsletters").rglob("*.html")):
        pool["digest"].append(path.read_bytes()[:MOST])
    return pool


def _mails(box: Path) -> Iterator[bytes]:
    size, offset = box.stat().st_size, 0
    with box.open("rb") as file:
        while offset < size:
            part = read_part(file, offset, 0, size)
            yield from part.mails
            offset = part.end

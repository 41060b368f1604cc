"""Builds the sample's feeds and mailbox from the authored YAML: `python -m deploy.sample.build DIR`. The same bytes each time."""

import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.sample import feeds, mails
from deploy.sample.authored import Item, hostile, items


@dataclass(frozen=True)
class SampleFile:
    """One file: `keys` of the items that ingest should accept, `quarantined` those that it should set aside (a whole file counts as one)."""

    name: str
    path: Path
    keys: tuple[str, ...]
    quarantined: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """What was built: the feeds by file name, the mailbox, and what to expect of each."""

    feeds: dict[str, SampleFile]
    mailbox: SampleFile

    @property
    def files(self) -> list[SampleFile]:
        return [*self.feeds.values(), self.mailbox]

    @property
    def expected(self) -> int:
        """How many documents ingest should make of it all."""
        return sum(len(file.keys) for file in self.files)

    @property
    def quarantined(self) -> int:
        """How many items or files ingest should set aside."""
        return sum(len(file.quarantined) for file in self.files)


def carried(name: str) -> list[Item]:
    """The items of one file, newest first; those without a date of their own come last."""
    found = [item for item in [*items(), *hostile()] if item.target == name]
    return sorted(found, key=lambda item: (item.published is not None, item.published.timestamp() if item.published else 0.0, item.key), reverse=True)


def build(into: Path) -> Manifest:
    """Write into/feeds/* and into/mail/newsletters.mbox; existing files are replaced. Raises OSError where the folder can't be written."""
    (into / "feeds").mkdir(parents=True, exist_ok=True)
    (into / "mail").mkdir(parents=True, exist_ok=True)
    written = {
        "desk.rss": feeds.rss(carried("desk.rss")),
        "planet.atom": feeds.atom(carried("planet.atom")).encode(),
        "wire.json": feeds.json_feed(carried("wire.json")),
        "broken.rss": feeds.broken(carried("broken.rss")),
        "charset.atom": feeds.atom(carried("charset.atom"), "Chœur & Cie", "choir").encode("windows-1252"),
        "bomb.rss": feeds.bomb(),
    }
    mailbox = _file(into / "mail" / "newsletters.mbox", mails.mbox(carried("newsletters.mbox")[::-1]))
    return Manifest(feeds={name: _file(into / "feeds" / name, data) for name, data in written.items()}, mailbox=mailbox)


def _file(path: Path, data: bytes) -> SampleFile:
    path.write_bytes(data)
    carries = carried(path.name)
    return SampleFile(
        name=path.name,
        path=path,
        keys=tuple(item.key for item in carries if item.expect == "ingested"),
        quarantined=tuple(item.key for item in carries if item.expect == "quarantined"),
    )


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m deploy.sample.build DIR (the folder to write feeds/ and mail/ into)")
    manifest = build(Path(sys.argv[1]))
    for file in manifest.files:
        print(f"{file.name:18} {file.path.stat().st_size:>9,} bytes  {len(file.keys):>3} items  {len(file.quarantined)} to quarantine")


if __name__ == "__main__":
    main()

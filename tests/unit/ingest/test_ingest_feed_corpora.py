"""Feeds of other projects' test suites, where they are at hand (FEEDLOOP_DATA, else ../shared/data): what is expected of them, and that none is lost."""

import contextlib
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from services.ingest.addresses import Allowed
from services.ingest.feeds import parse_feed
from services.ingest.fetch import Fetched, Fetcher
from services.ingest.items import SourceProblem, Unusable
from services.ingest.opml import read_opml, write_opml
from services.ingest.readers.feed import FeedReader
from shared.events import SourceRef
from tests.unit.ingest.conftest import World
from tests.unit.ingest.expectations import measure

FEEDS = Path(os.environ.get("FEEDLOOP_DATA") or "../shared/data") / "feeds"
SHARE = 0.99  # of feedparser's expectations of the fields that are kept
MOST_S = 20.0  # for one file of some kilobytes, on a machine that does other things

pytestmark = pytest.mark.skipif(not FEEDS.is_dir(), reason=f"there is no {FEEDS}: name the folder of the data in FEEDLOOP_DATA")


def test_feedparsers_own_expectations_hold(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = measure(FEEDS / "feedparser" / "tests", world.store)
    with capsys.disabled():
        print(f"\nfeedparser's expectations of kept fields: {len(outcome.held)} hold, {len(outcome.failed)} do not: {outcome.share:.2%}")
    assert len(outcome.held) > 800
    assert outcome.share >= SHARE, outcome.failed
    assert len(outcome.refused) == 2  # the two that declare entities


class _File(Fetcher):
    """Answers every address with the bytes of a file: reading is the subject here, not the network."""

    def __init__(self, path: Path) -> None:
        super().__init__(Allowed())
        self._path = path

    async def get(self, url: str, *_: Any, **__: Any) -> Fetched:
        return Fetched(self._path.read_bytes(), "", url=url)


async def test_every_file_ends_as_documents_or_with_a_reason(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the reader and the intake, as from the network. An empty feed is neither a document nor wrong, and says so."""
    ends: Counter[str] = Counter()
    for path in sorted(FEEDS.rglob("*")):
        if not path.is_file() or path.name == "LICENSE":
            continue
        source = SourceRef(id=f"feed-{path.stem}", kind="feed", title=path.name)
        started = time.monotonic()
        documents = refused = 0
        note = ""
        try:
            async for batch in FeedReader("https://feeds.example/feed", _File(path)).read({}):
                taken = await world.intake.take(batch.items, source, "news")
                documents, refused, note = documents + len(taken.published) + len(taken.unchanged), refused + len(taken.refused), batch.note
                assert len(taken.published) + len(taken.unchanged) + len(taken.refused) == len(batch.items), path
        except SourceProblem as problem:
            assert problem.evidence and problem.evidence.detail, path
            await world.intake.refuse(source.id, problem.evidence)
            refused += 1
        assert documents or refused or "no items" in note or "0 items" in note, path
        assert time.monotonic() - started < MOST_S, path
        ends["documents" if documents else "refused" if refused else "empty"] += 1
    with capsys.disabled():
        print(f"\nfiles of {FEEDS}: {dict(ends)}")
    assert ends["documents"] > 480, ends  # most files test one field, or markup without a word in it
    assert ends.total() > 2_900, ends


def test_every_outline_is_a_source_or_named() -> None:
    """Three of four of these lists are not well-formed: bare ampersands, and quotes and brackets inside of attributes."""
    files = sorted(FEEDS.rglob("*.opml"))
    assert len(files) > 100
    for path in files:
        found = read_opml(path.read_bytes())
        text = path.read_text()
        assert len(found.feeds) + len(found.refused) == text.count("xmlUrl="), path
        for feed in found.feeds:
            assert feed.url.replace("&", "&amp;") in text or feed.url in text, path
        again = read_opml(write_opml(found.feeds))
        assert again.feeds == found.feeds and not again.refused and not again.note, path


def test_a_file_that_is_cut_off_is_read_or_refused() -> None:
    for path in sorted((FEEDS / "gofeed").rglob("*.xml"))[::10]:
        data = path.read_bytes()
        for end in range(0, len(data), max(1, len(data) // 7)):
            began = time.monotonic()
            with contextlib.suppress(Unusable):
                parse_feed(data[:end])
            assert time.monotonic() - began < MOST_S, path

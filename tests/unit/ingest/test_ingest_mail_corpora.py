"""Mails of other projects' test suites, where they are at hand (FEEDLOOP_DATA, else ../shared/data): none is lost, and what is expected of them holds."""

import time
from collections import Counter

import pytest

from services.ingest.items import RawItem
from services.ingest.readers.mails import mail_batch
from shared.events import SourceRef
from tests.bench.mails import DATA, digests, replies, signatures
from tests.unit.ingest.conftest import World

MOST_S = 20.0  # for one file of some kilobytes, on a machine that does other things
SOURCE = SourceRef(id="corpus", kind="mail")

pytestmark = pytest.mark.skipif(not (DATA / "mail").is_dir(), reason=f"there is no {DATA / 'mail'}: name the folder of the data in FEEDLOOP_DATA")


async def test_every_file_ends_as_documents_or_in_quarantine_with_its_reason(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the file is: a mail, an mbox read as one mail, a part that was cut out, an image."""
    ends: Counter[str] = Counter()
    files = [path for path in sorted((DATA / "mail").rglob("*")) if path.is_file()]
    for path in files:
        began = time.perf_counter()
        batch = await mail_batch([path.read_bytes()], {})
        taken = await world.intake.take(batch.items, SOURCE, "news")
        assert time.perf_counter() - began < MOST_S, path
        assert taken.published or taken.unchanged or taken.refused, path
        assert not any("can't be parsed" in why or "Error" in why for why in taken.refused), (path, taken.refused)
        ends["documents" if taken.published else "known" if taken.unchanged else "refused"] += 1
    with capsys.disabled():
        print(f"\n{len(files)} files of mail: {dict(ends)}; {len(world.bus.documents)} documents")
    assert len(files) > 600 and ends["documents"] > 300
    reasons = {entry.reason for entry in world.quarantine.last()}
    assert reasons <= {"no-text", "unreadable"}, reasons
    assert all(document.published_at <= document.received_at for document in world.bus.documents)


async def test_the_digest_of_the_corpus_is_split(world: World) -> None:
    data = (DATA / "mail/mime4j/core/src/test/resources/mimetools-testmsgs/multi-digest.msg").read_bytes()
    (item,) = (await mail_batch([data], {})).items
    assert isinstance(item, RawItem)
    assert [held.title for held in item.items if isinstance(held, RawItem)] == ["embedded message 1", "embedded message 2"]


def test_replies_and_signatures_as_talon_expects_them(capsys: pytest.CaptureFixture[str]) -> None:
    own, signed = replies(), signatures()
    with capsys.disabled():
        print(f"\n{own.line('talon: replies (words)')}\n{signed.line('talon: signatures (lines)')}")
    assert own.found >= 0.9 * own.files and own.precision >= 0.95 and own.recall >= 0.95
    assert signed.found >= 0.8 * signed.files and signed.precision >= 0.95 and signed.recall >= 0.9


@pytest.mark.parametrize(
    ("name", "found", "precision", "recall"),
    [
        ("this-week-in-rust", 0.85, 0.93, 0.8),
        ("haskell-weekly", 0.98, 0.97, 0.85),
        ("debian-news", 0.75, 0.75, 0.7),
        ("ropensci-news", 0.75, 0.9, 0.7),
    ],
)
def test_newsletters_are_split_into_their_items(name: str, found: float, precision: float, recall: float, capsys: pytest.CaptureFixture[str]) -> None:
    if not (DATA / "newsletters" / name).is_dir():
        pytest.skip(f"there is no {DATA / 'newsletters' / name}")
    figures = digests(name, step=4)
    with capsys.disabled():
        print(f"\n{figures.line(f'{name} (items)')}")
    assert figures.found >= found * figures.files and figures.precision >= precision and figures.recall >= recall

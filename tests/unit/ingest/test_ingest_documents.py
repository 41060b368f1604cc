"""Documents: ids, versions, dates, titles, long texts, stories."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.ingest.documents import INLINE_TEXT, document_of
from services.ingest.items import RawItem, Unusable
from shared.events import DocumentIngested, SourceRef
from shared.objects import ObjectStore
from tests.unit.ingest.conftest import NOW, World

FEED, OTHER, MAIL = SourceRef(id="f", kind="feed"), SourceRef(id="g", kind="feed"), SourceRef(id="m", kind="mail")
ITEM = RawItem(key="1", title="Dam opened", body="The dam above Pellara was opened on Friday.", url="https://e.org/1?utm_source=x", raw=b"raw")
STORY = (
    "The harbour of Pellara stays closed until Monday. A storm tore two ships from their moorings on Friday night, the port authority said. "
    "No one was hurt, but the oil terminal lost power for six hours. Divers will look at the breakwater as soon as the wind drops, and the "
    "ministry of transport has promised money for a new one. Fishermen say that they warned of the cracks two years ago."
)


def make(item: RawItem, world: World, source: SourceRef = FEED) -> DocumentIngested:
    return document_of(item, source, "news", NOW, world.store)


def test_ids_are_stable_and_an_edit_keeps_them(world: World) -> None:
    first, again, edited = make(ITEM, world), make(ITEM, world), make(replace(ITEM, body="Another text."), world)
    assert first == again
    assert edited.id == first.id and edited.version != first.version
    assert first.url == "https://e.org/1"


def test_what_names_a_document(world: World) -> None:
    assert make(ITEM, world).id != make(ITEM, world, OTHER).id, "a feed's id means something in that feed only"
    bare = replace(ITEM, key="")
    assert make(bare, world).id == make(bare, world, OTHER).id, "one address is one document"
    assert make(ITEM, world, MAIL).id == make(ITEM, world, SourceRef(id="m2", kind="mail")).id, "a mail in two folders is one"
    nameless = replace(bare, url="")
    assert make(nameless, world).id == make(nameless, world, OTHER).id != make(bare, world).id


def test_dates(world: World) -> None:
    past = NOW - timedelta(days=1)
    assert make(replace(ITEM, published=past), world).published_at == past
    for wrong in (None, NOW + timedelta(seconds=1), NOW.replace(year=1903)):
        assert make(replace(ITEM, published=wrong), world).published_at == NOW


def test_title_language_and_emptiness(world: World) -> None:
    untitled = make(replace(ITEM, title=" ", body="<p>It rained all night. Then it stopped.</p>", markup=True), world)
    assert (untitled.title, untitled.language) == ("It rained all night.", "en")
    assert make(replace(ITEM, title="Kurz", body=""), world).language == ""
    assert make(replace(ITEM, body="Der Hafen bleibt wegen des Sturms bis Montag geschlossen."), world).language == "de"
    for title, language in (
        ("政府公布了新的预算", "zh"),
        ("政府は新しい予算案を発表", "ja"),
        ("Mail 0 of digest. Mail 1 of digest. Mail 2 of digest.", "en"),
        ("https://e.org/a/b/c/d/e/f", ""),
    ):
        assert make(replace(ITEM, title=title, body=""), world).language == language, title
    for empty in ("", "<p> </p>", "<script>alert(1)</script>", "\u200b"):
        with pytest.raises(Unusable) as error:
            make(replace(ITEM, title="", body=empty, markup=True), world)
        assert error.value.reason == "no-text"


def test_a_long_text_travels_by_reference(world: World) -> None:
    text = "Numbered sentence of a very long letter. " * 150_000
    document = make(replace(ITEM, body=text), world)
    assert len(document.text) == INLINE_TEXT and document.text_ref is not None
    assert world.store.get(document.text_ref).decode() == text.strip()
    assert len(document.model_dump_json()) < 100_000


async def test_feed_and_mail_of_one_story_before_and_after_a_restart(world: World) -> None:
    told = RawItem(key="a", title="Storm closes harbour", body=STORY)
    (first,) = (await world.intake.take([told], FEED, "news")).published
    (second,) = (await world.intake.take([replace(told, key="b", title="Harbour: storm closes it")], MAIL, "news")).published
    assert first.story == first.id == second.story != second.id
    after = await world.restarted()
    (third,) = (await after.intake.take([replace(told, key="c")], OTHER, "news")).published
    assert third.story == first.id


def test_a_tag_in_clean_text_is_words(world: World) -> None:
    assert make(replace(ITEM, body="Write <b>bold</b> in HTML.", plain=True), world).text == "Write <b>bold</b> in HTML."
    assert make(replace(ITEM, body="Write <b>bold</b> in HTML."), world).text == "Write bold in HTML."


def test_a_title_is_plain_text(world: World) -> None:
    title = "[BUG] std::vector<int> leaks & Map<K,V> <b> &amp;"
    assert make(replace(ITEM, title=title), world, MAIL).title == title


def test_the_store_is_not_touched_for_short_texts(tmp_path, world: World) -> None:  # type: ignore[no-untyped-def]
    store = ObjectStore(str(tmp_path / "none"))
    assert document_of(ITEM, FEED, "news", NOW, store).text_ref is None
    assert not (tmp_path / "none").exists()

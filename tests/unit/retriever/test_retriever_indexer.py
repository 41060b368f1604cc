"""The index holds the newest verdict on each document, once, whatever order and however often verdicts come."""

import asyncio
from itertools import permutations
from pathlib import Path

import pytest

from services.retriever.indexer import Indexer
from services.retriever.search import Search
from services.retriever.store import Store
from shared.errors import ConfigError, PermanentError, TransientError
from shared.events import ObjectRef
from shared.objects import ObjectStore

LONG = " ".join(f"The report on harbour number {n} says that boats, cranes and weather were all in order on that day." for n in range(40))


async def everything(store: Store) -> dict:
    """Every point of the index, by id, with its vectors."""
    name = await store.collection("news")
    points, _ = await store.call(lambda client: client.scroll(name, limit=1000, with_payload=True, with_vectors=True))
    return {point.id: (point.payload, str(point.vector)) for point in points}


async def test_indexing_twice_changes_nothing(indexer: Indexer, store: Store, classified) -> None:
    event = classified(text=LONG)
    await indexer.apply(event)
    before = await everything(store)
    assert len(before) > 3
    await indexer.apply(event)
    assert await everything(store) == before


async def test_the_newest_verdict_stays_in_every_order(indexer: Indexer, search: Search, classified) -> None:
    verdicts = [
        {"category": "world", "stage": "provisional", "minutes": 0},
        {"category": "business", "stage": "final", "minutes": 5},
        {"category": "security", "stage": "corrected", "minutes": 5, "feedback_at": "2026-11-01T13:00:00Z"},
        {"category": "science", "stage": "final", "minutes": 9},  # a late answer of the LLM, which knows nothing of the correction
    ]
    for n, order in enumerate(permutations(verdicts)):
        for verdict in order:
            await indexer.apply(classified(f"d{n}", **verdict))
        document = await search.document(f"d{n}")
        assert document and (document.labels["category"], document.stage) == ("security", "corrected")


async def test_verdicts_side_by_side_leave_the_newest(indexer: Indexer, search: Search, classified) -> None:
    events = [classified(text=LONG, minutes=m, category="security" if m == 7 else "world") for m in (3, 7, 1, 5, 2)]
    await asyncio.gather(*(indexer.apply(event) for event in events))
    document = await search.document("d1")
    assert document and document.labels["category"] == "security"


async def test_a_verdict_alone_embeds_nothing(indexer: Indexer, store: Store, classified, monkeypatch: pytest.MonkeyPatch) -> None:
    await indexer.apply(classified(text=LONG))
    before = await everything(store)

    def refuse(*_: object) -> None:
        raise AssertionError("known content was embedded again")

    monkeypatch.setattr(indexer.encoder, "encode", refuse)
    assert await indexer.apply(classified(text=LONG, minutes=5, category="economy", stage="final"))
    after = await everything(store)
    assert {id: vector for id, (_, vector) in after.items()} == {id: vector for id, (_, vector) in before.items()}
    assert {payload["labels"]["category"] for payload, _ in after.values()} == {"economy"}
    assert {payload["text"] for payload, _ in after.values()} == {payload["text"] for payload, _ in before.values()}


async def test_an_edit_replaces_every_passage(indexer: Indexer, store: Store, search: Search, classified) -> None:
    await indexer.apply(classified(text=LONG))
    many = len(await everything(store))
    await indexer.apply(classified(text="Only this is left.", minutes=5))
    left = await everything(store)
    assert many > 3 and len(left) == 1
    await indexer.apply(classified(text=LONG, minutes=1))  # the older version, late
    assert await everything(store) == left
    document = await search.document("d1")
    assert document and document.text == "Only this is left."


async def test_a_death_in_the_middle_of_an_edit_is_made_good(indexer: Indexer, store: Store, classified, monkeypatch: pytest.MonkeyPatch) -> None:
    await indexer.apply(classified(text=LONG))
    real = store.call
    calls = 0

    async def dies_before_the_write(work):
        nonlocal calls
        calls += 1
        if calls == 3:  # the state was read, the surplus deleted
            raise TransientError("killed")
        return await real(work)

    monkeypatch.setattr(store, "call", dies_before_the_write)
    edit = classified(text="Only this is left.", minutes=5)
    with pytest.raises(TransientError):
        await indexer.apply(edit)
    monkeypatch.setattr(store, "call", real)
    await indexer.apply(edit)
    (payload, _), *others = (await everything(store)).values()
    assert not others and payload["text"] == "Only this is left."


async def test_a_body_by_reference_is_indexed_whole(indexer: Indexer, objects: ObjectStore, search: Search, classified) -> None:
    ref = objects.put((LONG + " The very last line names the lighthouse keeper.").encode())
    await indexer.apply(classified(text=LONG[:500], text_ref=ref))
    document = await search.document("d1")
    assert document and document.text.endswith("lighthouse keeper.") and document.text.startswith(LONG[:500])


async def test_a_lost_body_is_a_reason(indexer: Indexer, classified) -> None:
    with pytest.raises(PermanentError, match="has no blobs/none"):
        await indexer.apply(classified(text_ref=ObjectRef(uri="blobs/none", sha256="0" * 64, size=1)))


async def test_a_document_without_text_is_found_by_its_title(indexer: Indexer, search: Search, classified) -> None:
    await indexer.apply(classified("empty", "Volcano on Isla Parda sends ash", ""))
    (hit,) = await search.documents("ash of a volcano", 5)
    assert (hit.document_id, hit.passage, hit.start, hit.end) == ("empty", "", 0, 0)


async def test_the_index_outlives_its_process(tmp_path: Path, encoder, objects: ObjectStore, classified) -> None:
    for expected in (True, False):
        store = Store("", tmp_path / "kept")
        await store.open()
        known = await Search(store, encoder).document("d1")
        assert (known is None) == expected
        await Indexer(store, encoder, objects).apply(classified(text=LONG))
        await store.close()


async def test_a_folder_in_use_is_one_clear_line(store: Store) -> None:
    second = Store("", store.path)
    with pytest.raises(ConfigError, match=r"is in use by another process: .* QDRANT_PATH, or share a Qdrant server by QDRANT_URL"):
        await second.open()
    await second.close()


async def test_a_server_that_is_away_passes_as_transient(unused_port: int, tmp_path: Path) -> None:
    store = Store(f"http://127.0.0.1:{unused_port}", tmp_path)
    await store.open()
    with pytest.raises(TransientError, match="does not answer"):
        await store.collection("news")
    assert "QDRANT_URL names it" in await store.ping()
    await store.close()


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

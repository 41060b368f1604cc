"""The real embedded Qdrant in a folder of the test's own, the real encoder, and a small newsroom."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.retriever.indexer import Indexer
from services.retriever.search import Search
from services.retriever.store import Store
from shared.encoder import Encoder
from shared.events import Decision, DocumentClassified, SourceRef, digest_of
from shared.objects import ObjectStore

ENCODER = Path("build/encoder")
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
Make = Callable[..., DocumentClassified]

NEWS = {
    "vpn": (
        "security",
        "Flaw in Harbourgate VPN lets strangers in",
        "A vulnerability in the login page of Harbourgate lets an attacker open a session without a password. The maker shipped version 6.2.4 on "
        "Monday evening. Administrators should update before Friday, because stolen session cookies stay valid for thirty days.",
    ),
    "rate": (
        "economy",
        "Northmark's central bank holds its rate",
        "The key interest rate of Northmark stays at 4.25 percent. Governor Edda Rask said that borrowing would get cheaper in spring if prices "
        "calmed down. The next decision is due on 14 January.",
    ),
    "comet": (
        "science",
        "Comet last seen in 1881 returns on time",
        "Astronomers on Mount Ferro photographed comet Halvorsen on Saturday. The ball of ice and dust will come closest to the sun in January. "
        "It may be seen with binoculars in the evening sky.",
    ),
    "bakery": (
        "business",
        "Bread subscription raises 14 million",
        "Crumb & Daughters sends frozen sourdough to 60,000 households every week. Investors put 14 million into the bakery. The order carried "
        "the reference ZQX-7731 in the trade register.",
    ),
    "eels": (
        "science",
        "Eels follow a smell across the ocean",
        "Biologists followed forty eels from river mouths to the sea of weeds. The animals steer by a scent that the current carries. "
        "Nobody had seen how they find the way.",
    ),
}


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    if not (ENCODER / "manifest.json").exists():
        pytest.skip("build/encoder is absent: `make setup` exports the sentence encoder")
    return Encoder(ENCODER)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store("", tmp_path / "qdrant")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(str(tmp_path / "objects"))


@pytest.fixture
def indexer(store: Store, encoder: Encoder, objects: ObjectStore) -> Indexer:
    return Indexer(store, encoder, objects)


@pytest.fixture
def search(store: Store, encoder: Encoder) -> Search:
    return Search(store, encoder)


@pytest.fixture
def classified() -> Make:
    """Makes a verdict: by id, with what differs from the usual. `minutes` after noon is its `as_of`."""

    def make(
        id: str = "d1", title: str = "A title", text: str = "A text.", category: str = "world", minutes: int = 0, **given: Any
    ) -> DocumentClassified:
        usual: dict[str, Any] = {
            "version": digest_of(title, text)[:16],
            "source": SourceRef(id="desk-feed", kind="feed", title="The Desk"),
            "url": f"https://news.example/{id}",
            "published_at": NOON,
            "received_at": NOON,
            "story": id,
            "stage": "provisional",
        }
        decision = {"category": Decision(label=category, probability=0.9, by="fusion", reasons=["because"])}
        as_of = NOON + timedelta(minutes=minutes)
        return DocumentClassified(id=id, title=title, text=text, decision=decision, as_of=as_of, **(usual | given))

    return make


@pytest.fixture
async def newsroom(indexer: Indexer, classified: Make) -> Indexer:
    """NEWS, indexed."""
    for id, (category, title, text) in NEWS.items():
        await indexer.apply(classified(id, title, text, category))
    return indexer

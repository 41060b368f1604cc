"""Hybrid search: by meaning, by rare word, filtered; each hit points at its passage."""

from datetime import UTC, datetime, timedelta

import pytest

from services.retriever.search import Search
from services.retriever.shapes import Filters
from services.retriever.terms import passage_vector, query_vector, terms


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("monetary policy decision", "rate"),  # no word in common
        ("wildlife navigation", "eels"),
        ("cyber attack on remote access software", "vpn"),
        ("ZQX-7731", "bakery"),  # no meaning at all
        ("7731", "bakery"),
        ("Halvorsen", "comet"),
    ],
)
async def test_found_by_meaning_and_by_rare_word(newsroom, search: Search, query: str, wanted: str) -> None:
    assert (await search.documents(query, 3))[0].document_id == wanted


async def test_a_hit_points_at_its_passage(indexer, search: Search, classified) -> None:
    filler = " ".join(f"Paragraph {n} is about fishing quotas in the northern waters and the boats that obey them." for n in range(30))
    text = f"{filler}\n\nThe   lighthouse keeper\nof Torvik retired. {filler}"
    await indexer.apply(classified("long", "Quotas", text))
    hits = await search.documents("lighthouse keeper retires", 10)
    assert [hit.document_id for hit in hits] == ["long"]  # its best passage, not each of them
    assert text[hits[0].start : hits[0].end] == hits[0].passage and "lighthouse keeper\nof Torvik" in hits[0].passage
    document = await search.document("long")
    assert document and document.text[hits[0].start : hits[0].end] == hits[0].passage
    assert len(await search.passages("fishing quotas", 10)) > 3


async def test_filters(newsroom, search: Search, classified) -> None:
    late = datetime(2026, 11, 20, tzinfo=UTC)
    await newsroom.apply(classified("late", "A planet is found", "A planet was found by students.", "science", published_at=late))

    async def ids(**given) -> set[str]:
        return {hit.document_id for hit in await search.documents("news", 20, Filters(**given))}

    assert await ids(labels={"category": "science"}) == {"comet", "eels", "late"}
    assert await ids(labels={"category": "science"}, since=late - timedelta(days=1)) == {"late"}
    assert await ids(source="The Desk") == await ids(source="desk-feed") == {"vpn", "rate", "comet", "bakery", "eels", "late"}
    assert await ids(source="elsewhere") == set()


async def test_an_unknown_collection_is_empty(search: Search) -> None:
    assert await search.documents("anything", 5, collection="papers") == []
    assert await search.document("anything", "papers") is None


async def test_a_query_without_a_term_is_searched_by_meaning(newsroom, search: Search) -> None:
    assert query_vector("?!") == ([], [])
    assert len(await search.documents("?!", 3)) == 3


def test_terms_keep_compounds_and_their_parts() -> None:
    assert terms("The CVE-2026-1234 flaw in Node.js 4.9.2") == [
        "cve-2026-1234",
        "cve",
        "2026",
        "1234",
        "flaw",
        "node.js",
        "node",
        "js",
        "4.9.2",
        "4",
        "9",
        "2",
    ]


def test_weights_saturate_and_shrink_with_length() -> None:
    def weight(text: str) -> float:
        indices, values = passage_vector(text)
        return values[indices.index(query_vector("comet")[0][0])]

    assert weight("comet") < weight("comet comet") < 2 * weight("comet")
    assert weight("comet " + "ice dust " * 100) < weight("comet")
    indices, _ = passage_vector("some comet came near and some comet went")
    assert indices == sorted(set(indices))

"""Enrichment of one document."""

import pytest
from aiohttp import web

from shared.errors import PermanentError, TransientError


async def test_the_document_gets_labels_metadata_and_its_stamp(enricher, fake, document):
    fake.loaded["adapter-1"] = "/x"
    fake.answers["adapter-1"] = "economy"
    enriched = await enricher.enrich(document(), "adapter-1", "digest-1")
    assert set(enriched.verdict) == {"category", "sentiment", "urgency"}  # risk is a rule's
    assert enriched.verdict["category"].label == "economy" == enriched.metadata.categories[0]
    assert enriched.metadata.summary in enriched.text
    assert (enriched.model.adapter, enriched.model.name, enriched.model.base) == ("digest-1", "adapter-1", "tiny-base")
    assert len(enriched.prompt_hash) == 12 and enriched.enriched_at >= enriched.received_at
    assert {body["model"] for body in fake.asked} == {"adapter-1"}


async def test_a_text_too_long_is_shortened_until_it_fits(enricher, fake, document):
    fake.longest = 1000
    text = "Prices rose in the north by two percent. " * 60
    enriched = await enricher.enrich(document(text), "base", "base")
    assert enriched.text == text  # the document itself stays whole
    assert max(sum(len(m["content"]) for m in body["messages"]) for body in fake.asked) > 1000


async def test_when_nothing_fits_it_is_given_up(enricher, fake, document):
    fake.longest = 100
    with pytest.raises(PermanentError, match=r"not even the beginning of the document fits.*maximum context length"):
        await enricher.enrich(document("word " * 500), "base", "base")


async def test_metadata_that_is_always_cut_off_is_given_up(enricher, fake, document):
    fake.cut_off = True
    with pytest.raises(PermanentError, match="cut off before its end"):
        await enricher.enrich(document(), "base", "base")


async def test_metadata_that_the_document_does_not_hold_is_unsound(enricher, fake, document, monkeypatch):
    monkeypatch.setattr(fake, "_first", lambda shape: ["Atlantis"] if shape.get("type") == "array" else "somewhere else")
    with pytest.raises(PermanentError, match="the metadata is unsound") as raised:
        await enricher.enrich(document(), "base", "base")
    assert "\n" not in str(raised.value)


async def test_an_empty_document_is_read_too(enricher, document):
    assert (await enricher.enrich(document(""), "base", "base")).metadata.summary == "Rates stay"


async def test_an_engine_that_is_away_is_transient(enricher, fake, document):
    fake.instead = web.Response(status=503, text="starting")
    with pytest.raises(TransientError):
        await enricher.enrich(document(), "base", "base")


async def test_a_users_own_label_set_is_asked_at_once(enricher, fake, document, tmp_path):
    from shared.taxonomy import use

    tasks = "{beat: {meaning: m, labels: {city: c, region: r}}, risk: {meaning: m, parts: [rule], labels: {none: n, some: s}}}"
    (tmp_path / "feedloop.yaml").write_text(f"label_sets: {{desk: {{tasks: {tasks}}}}}")
    use(tmp_path / "feedloop.yaml")
    try:
        enriched = await enricher.enrich(document().model_copy(update={"collection": "desk"}), "base", "base")
    finally:
        use(None)
    assert {task: score.label for task, score in enriched.verdict.items()} == {"beat": "city"}
    assert fake.asked[0]["structured_outputs"] == {"choice": ["city", "region"]} and enriched.metadata.summary in enriched.text

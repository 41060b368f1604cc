"""Enrichment of one document."""

import pytest
from aiohttp import web

from shared import metrics
from shared.errors import PermanentError, TransientError
from shared.events import LabelScore
from shared.taxonomy import Task


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


def left_out(part: str) -> float:
    return metrics.LEFT_OUT.labels(part)._value.get()


async def test_metadata_that_is_always_cut_off_leaves_the_verdict(enricher, fake, document):
    fake.cut_off = True
    before = left_out("metadata")
    enriched = await enricher.enrich(document(), "base", "base")
    assert set(enriched.verdict) == {"category", "sentiment", "urgency"} and enriched.metadata.summary == "" == "".join(enriched.metadata.entities)
    assert enriched.metadata.categories == [enriched.verdict["category"].label] and left_out("metadata") == before + 1


async def test_metadata_that_the_document_does_not_hold_is_left_empty(enricher, fake, document, monkeypatch, capsys):
    monkeypatch.setattr(fake, "_first", lambda shape: ["Atlantis"] if shape.get("type") == "array" else "somewhere else")
    enriched = await enricher.enrich(document(), "base", "base")
    assert len(enriched.verdict) == 3 and enriched.metadata.entities == [] and enriched.metadata.summary == ""
    assert "the metadata is unsound" in capsys.readouterr().out


async def test_a_label_that_is_none_leaves_the_others(enricher, fake, document, monkeypatch):
    choose, before = enricher.engine.choose, left_out("label")
    wrong = {"urgency"}

    async def stray(name, messages, options):
        if any(f"Task: {task}\n" in messages[1]["content"] for task in wrong):
            raise PermanentError("the engine answered 'gossip', which is none of low, normal, high")
        return await choose(name, messages, options)

    monkeypatch.setattr(enricher.engine, "choose", stray)
    enriched = await enricher.enrich(document(), "base", "base")
    assert set(enriched.verdict) == {"category", "sentiment"} and enriched.metadata.summary in enriched.text
    assert left_out("label") == before + 1
    wrong |= {"category", "sentiment"}  # none at all: it is the engine, and the guard must learn of it
    with pytest.raises(PermanentError, match="none of low"):
        await enricher.enrich(document(), "base", "base")


async def test_of_a_multi_task_each_label_is_asked_for(enricher, document, monkeypatch):
    tags = Task(name="tags", meaning="m", kind="multi", labels={"money": "about money", "people": "about people", "danger": "about danger"})
    asked = []

    async def choose(name, messages, options):
        asked.append(options)
        holds = "Task: tags: people" not in messages[1]["content"]
        return LabelScore(label="yes" if holds else "no", probability=0.8 if "money" in messages[1]["content"] else 0.75)

    monkeypatch.setattr(enricher.engine, "choose", choose)
    score = await enricher.label(tags, "Rates stay", document().text, "base")
    assert asked == [["yes", "no"]] * 3
    assert score == LabelScore(label="money", probability=0.8, probabilities={"money": 0.8, "people": 0.25, "danger": 0.75})


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

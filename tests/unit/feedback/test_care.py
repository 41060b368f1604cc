"""Care: calm words and the help text with every safety label, and with nothing else."""

import re

import pytest
from pydantic import ValidationError

from services.feedback.care import GRAVEST, HELP, NOTE, OTHER
from services.feedback.settings import LONGEST_HELP, Settings
from shared.events import Decision


def risky(item, label: str = "high"):
    decision = Decision(label=label, probability=0.9, by="llm", reasons=["the language model says so"])
    return item(1, collection="wellbeing").model_copy(update={"decision": {"emotion": Decision.model_validate(decision), "risk": decision}})


def test_our_words_are_no_diagnosis_and_name_no_number():
    for text in (HELP, NOTE, GRAVEST, OTHER):
        assert not re.search(r"\d|suicid|self.?harm|depress|disorder|patient", text, re.IGNORECASE)
    assert "emergency services" in HELP and "crisis service" in HELP and "person must decide" in HELP


async def test_an_item_with_a_safety_label_brings_the_help_text_and_no_other_does(settings, start, item):
    async with start(settings.model_copy(update={"help_text": "Ask Ana at the front desk."})) as (bus, client):
        bus.tell(risky(item), item(2))
        for found in ((await client.get("/api/items")).json()["items"][1], (await client.get("/api/items/d001")).json()):
            assert found["care"] == {"words": GRAVEST, "severity": 1.0, "task": "risk", "note": NOTE, "help": "Ask Ana at the front desk."}
        assert (await client.get("/api/items/d002")).json()["care"] is None
        assert (await client.get("/api/care")).json() == {"gravest": GRAVEST, "other": OTHER, "note": NOTE, "help": "Ask Ana at the front desk."}
        bus.tell(risky(item, "low"))
        assert (await client.get("/api/items/d001")).json()["care"]["words"] == OTHER


async def test_a_safety_label_needs_help_also_when_it_was_judged(served, item):
    bus, client = served
    bus.tell(risky(item))
    said = {"document_id": "d001", "kind": "confirmation", "task": "risk", "correct": "high"}
    answer = await client.post("/api/feedback", json=said)
    assert answer.status_code == 202 and answer.json()["review"]["why"] == "judged"
    assert (await client.get("/api/items/d001")).json()["care"]["help"] == HELP
    back = await client.post("/api/feedback", json={"document_id": "d001", "kind": "retraction", "retracts": answer.json()["id"]})
    assert back.json()["review"] == {"why": "safety", "task": "risk", "weight": 1.0}


def test_the_help_text_is_a_text_or_a_file(tmp_path, monkeypatch):
    assert Settings().help() == HELP
    monkeypatch.setenv("FEEDLOOP_HELP_TEXT", "  ")  # as compose hands on what is not set
    monkeypatch.setenv("FEEDLOOP_HELP_TEXT_FILE", "")
    assert Settings().help() == HELP
    file = tmp_path / "help.txt"
    file.write_text("\ufeffFrag Jörg.\n\nZimmer 4\n", encoding="utf-8")
    monkeypatch.setenv("FEEDLOOP_HELP_TEXT_FILE", str(file))
    assert Settings().help() == "Frag Jörg.\n\nZimmer 4"


@pytest.mark.parametrize(
    ("content", "text", "word"),
    [
        (None, "", "can't be read"),
        (b"\xff\xfe\x00", "", "can't be read as UTF-8"),
        (b"  \n", "", "is empty: write the help text"),
        (b"x" * (LONGEST_HELP + 1), "", "at most 4000"),
        (b"help", "other help", "both set"),
    ],
)
def test_a_help_text_that_can_not_be_used_is_said_at_the_start(tmp_path, content, text, word):
    file = tmp_path / "help.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValidationError, match=word) as caught:
        Settings(help_text=text, help_text_file=file)
    assert "FEEDLOOP_HELP_TEXT_FILE" in str(caught.value)

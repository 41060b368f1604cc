"""Care: the words, what they go with, and the setting of the help text in every service that shows verdicts."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.classifier.settings import Settings as OfClassifier
from services.feedback.settings import Settings as OfFeedback
from shared.care import GRAVEST, HELP, LONGEST_HELP, NOTE, OTHER, CareSettings, shown
from shared.events import Decision
from shared.taxonomy import label_set

each_service = pytest.mark.parametrize("settings", [OfClassifier, OfFeedback], ids=["classifier", "feedback"])


def said(label: str) -> Decision:
    return Decision(label=label, probability=0.9, by="llm", reasons=["the language model says so"])


def test_our_words_are_no_diagnosis_and_name_no_number() -> None:
    for text in (HELP, NOTE, GRAVEST, OTHER):
        assert not re.search(r"\d|suicid|self.?harm|depress|disorder|patient", text, re.IGNORECASE)
    assert "emergency services" in HELP and "crisis service" in HELP and "person must decide" in HELP


def test_care_goes_with_the_gravest_safety_label_and_with_nothing_else() -> None:
    tasks = label_set("wellbeing").tasks
    assert shown({"emotion": said("neutral"), "risk": said("none")}, tasks, HELP) is None
    assert shown({"risk": said("high")}, {}, HELP) is None, "tasks that the label set does not have"
    found = shown({"stress": said("high"), "risk": said("high")}, tasks, "Ask Ana.")
    assert found is not None and found.model_dump() == {"words": GRAVEST, "severity": 1.0, "task": "risk", "note": NOTE, "help": "Ask Ana."}
    lesser = shown({"risk": said("low")}, tasks, HELP)
    assert lesser is not None and lesser.words == OTHER and 0 < lesser.severity < 1


@each_service
def test_the_help_text_is_a_text_or_a_file(settings: type[CareSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().help() == HELP
    monkeypatch.setenv("FEEDLOOP_HELP_TEXT", "  ")  # as compose hands on what is not set
    monkeypatch.setenv("FEEDLOOP_HELP_TEXT_FILE", "")
    assert settings().help() == HELP
    file = tmp_path / "help.txt"
    file.write_text("\ufeffFrag Jörg.\n\nZimmer 4\n", encoding="utf-8")
    monkeypatch.setenv("FEEDLOOP_HELP_TEXT_FILE", str(file))
    assert settings().help() == "Frag Jörg.\n\nZimmer 4"


@each_service
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
def test_a_help_text_that_can_not_be_used_is_said_at_the_start(
    settings: type[CareSettings], tmp_path: Path, content: bytes | None, text: str, word: str
) -> None:
    file = tmp_path / "help.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValidationError, match=word) as caught:
        settings(help_text=text, help_text_file=file)
    assert "FEEDLOOP_HELP_TEXT_FILE" in str(caught.value)

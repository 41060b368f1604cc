"""Training texts for the collection `wellbeing`: those written for Feedloop (services/trainer/wellbeing), and GoEmotions with its labels carried over."""

import json
from pathlib import Path
from typing import Any

import yaml

from services.trainer.runs.heads.examples import Example
from shared.errors import ConfigError
from shared.taxonomy import LabelSet

# what a text of an emotion usually carries, as the header of each file says; an entry that differs says so itself
USUAL: dict[str, dict[str, str]] = {
    "positive": {"sentiment": "positive", "stress": "none", "risk": "none"},
    "neutral": {"sentiment": "neutral", "stress": "none", "risk": "none"},
    "stress": {"sentiment": "negative", "stress": "high", "risk": "low"},
    "anger": {"sentiment": "negative", "stress": "low", "risk": "none"},
    "sadness": {"sentiment": "negative", "stress": "low", "risk": "none"},
    "fear": {"sentiment": "negative", "stress": "low", "risk": "none"},
    "self_harm_low": {"sentiment": "negative", "stress": "high", "risk": "high"},
    "self_harm_high": {"sentiment": "negative", "stress": "high", "risk": "high"},
}
# GoEmotions (Demszky et al. 2020, GoEmotions: A Dataset of Fine-Grained Emotions): the labels that mean nearly what one of ours means. The others
# (annoyance, disapproval, surprise, curiosity, …) are of no one of ours, and texts with them, or with labels of two groups, are left out.
CARRIED = {
    "positive": {"admiration", "amusement", "excitement", "gratitude", "joy", "love", "optimism", "pride", "relief"},
    "neutral": {"neutral"},
    "anger": {"anger"},
    "sadness": {"sadness", "grief", "disappointment", "remorse"},
    "fear": {"fear", "nervousness"},
}
CARRIED_WEIGHT = 0.25  # of one of our own texts: written for other labels, by other people, on one site
MOST_CARRIED = 1200  # of one emotion, so that neutral and positive, three in four of its texts, don't drown the others


def read_yaml(path: Path, labels: LabelSet) -> list[Example]:
    """One file: emotion -> texts, or {text, and the labels that differ from the emotion's usual}. Raises ConfigError naming the entry that is wrong."""
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path.name}: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path.name}: it must hold a list of texts under each emotion")
    found = []
    for emotion, entries in data.items():
        if emotion not in USUAL or not isinstance(entries, list):
            raise ConfigError(f"{path.name}: {emotion!r} must be one of {', '.join(USUAL)}, with a list of texts")
        for number, entry in enumerate(entries, 1):
            body = {"text": entry} if isinstance(entry, str) else entry
            if not isinstance(body, dict) or not isinstance(body.get("text"), str) or not body["text"].strip():
                raise ConfigError(f"{path.name}: {emotion}, entry {number}: a text, or a mapping with `text`")
            said = {"emotion": emotion, **USUAL[emotion], **{name: value for name, value in body.items() if name != "text"}}
            try:
                for task, label in said.items():
                    labels.check(task, str(label))
            except ValueError as error:
                raise ConfigError(f"{path.name}: {emotion}, entry {number}: {error}") from error
            found.append(Example(body["text"], said))
    return found


def read_folder(folder: Path, labels: LabelSet) -> list[Example]:
    """All the files of a folder. Raises ConfigError where a text stands in it twice, for then it would be learned and measured on."""
    found = [one for path in sorted(folder.glob("*.yaml")) for one in read_yaml(path, labels)]
    seen: set[str] = set()
    for one in found:
        plain = " ".join(one.text.lower().split())
        if plain in seen:
            raise ConfigError(f"{folder.name}: this text stands there twice: {one.text[:80]!r}")
        seen.add(plain)
    if not found:
        raise ConfigError(f"{folder}: there are no *.yaml files in it")
    return found


def goemotions(folder: Path) -> list[Example]:
    """The train split's texts whose labels all fall into one group; at most MOST_CARRIED of each, the first ones. Emotion and sentiment of each; of the
    positive ones also that there is no stress and no risk. Raises ConfigError where the set is not there."""
    path = folder / "goemotions" / "train.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise ConfigError(f"GoEmotions is not at {path}: {error.strerror}") from error
    found, counts = [], dict.fromkeys(CARRIED, 0)
    for row in rows:
        emotion = next((name for name, group in CARRIED.items() if set(row["label"]) <= group), "")
        if not emotion or counts[emotion] >= MOST_CARRIED:
            continue
        counts[emotion] += 1
        usual = USUAL[emotion]
        said = {"emotion": emotion, **usual} if emotion == "positive" else {"emotion": emotion, "sentiment": usual["sentiment"]}
        found.append(Example(row["text"], said, own=False, weight=CARRIED_WEIGHT))
    return found

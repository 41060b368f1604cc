"""Label tasks without end: lists of labels that no desk has, so that the model learns to read the list in the prompt rather than to remember one. Pure.

Names come of topics.yaml and moods.yaml, both written for Feedloop; the gold label of a passage comes of its source, of people who labelled it, or of
the teacher (runs/teacher.py), and the wrong ones are those that are wrong for sure.
"""

import random
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from services.trainer.examples import Example, ask
from services.trainer.supervision import NEVER
from shared import prompts
from shared.taxonomy import Task, is_name

HERE = Path(__file__).parent
SIZES = (2, 2, 3, 3, 4, 4, 5, 6, 8, 10, 12, 16)  # labels in a list
ABOUT = (
    "topic",
    "subject",
    "section",
    "theme",
    "category",
    "desk",
    "label",
    "tag",
    "group",
    "about",
    "area",
    "field",
    "folder",
    "channel",
    "class",
    "kind of news",
)
FEELING = ("emotion", "mood", "feeling", "tone of voice", "state of mind", "affect")
NEAR_MOODS = (  # no list holds two of one group: even people would not tell them apart
    {"anger", "annoyance", "disapproval", "disgust", "disappointment"}, {"sadness", "grief", "disappointment", "remorse"}, {"fear", "nervousness", "stress"},
    {"joy", "excitement", "amusement", "pride", "relief", "optimism", "love", "gratitude", "admiration", "approval", "caring", "desire"},
    {"curiosity", "surprise", "confusion"}, {"neutral", "calm", "approval"}, {"embarrassment", "remorse", "nervousness"},
)  # fmt: skip


def _yaml(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


@cache
def topics() -> dict[str, dict[str, Any]]:
    """Topics by name: `names` a label may have, telling `words`, `lines` about it, and the `parent` among the news categories."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((HERE / "topics").glob("*.yaml")):
        for name, body in _yaml(path).items():
            names = [label for label in body["names"] if label.casefold() not in NEVER]
            found[name] = body | {"names": names, "words": [word.strip() for word in body["words"].split(",")]}
    return found


@cache
def all_names() -> list[str]:
    """Every name that a topic has, and every telling word of it: what a list of labels may hold. None that a desk is to teach."""
    found = [*topics(), *(name for body in topics().values() for name in (*body["names"], *body["words"]))]
    return [name for name in dict.fromkeys(found) if name.casefold() not in NEVER]


@cache
def moods() -> dict[str, dict[str, Any]]:
    """Moods and tones by name: `names` a label may have, and `lines` in that mood."""
    return _yaml(HERE / "moods.yaml")


@cache
def phrases() -> dict[str, Any]:
    """Templates: urgency, requests, noise of mail and feeds, tones, stress, messages, questions (the tricky ones among them); and values of their slots."""
    found = _yaml(HERE / "phrases.yaml")
    for name in ("urgency", "tones", "stress"):
        found[name] = {label: [*lines, *found[f"{name}_tricky"][label]] for label, lines in found[name].items()}
    return found


def listed(name: str, gold: str, wrong: Sequence[str], title: str, text: str, chance: random.Random) -> Example:
    """A label example over `gold` and the `wrong` names, in random order and one style of writing; names that would be alike are left out. Raises ValueError for a
    gold label that could not be offered."""
    if not is_name(gold):
        raise ValueError(f"{gold!r} is no name of a label (shared.taxonomy.is_name): it can't be the answer")
    style = chance.choice((str, str, str, str.lower, str.title, str.capitalize, _snake, _hyphened))
    kept = {style(gold).casefold(): style(gold)}
    for label in wrong:
        kept.setdefault(style(label).casefold(), style(label))
    names = [label for label in kept.values() if is_name(label)]
    chance.shuffle(names)
    task = Task(name=name, meaning="", labels=dict.fromkeys(names, ""))
    return Example("label", ask(task, title, text), style(gold), task)


def _snake(text: str) -> str:
    return text.replace(" ", "_").replace("-", "_")


def _hyphened(text: str) -> str:
    return text.replace(" ", "-")


def topic_example(topic: str, near: Collection[str], title: str, text: str, chance: random.Random) -> Example | None:
    """Which of some topics a passage is about; `near` are those that might be right too."""
    known = topics()
    far = [name for name in known if name != topic and name not in near]
    if len(far) < max(SIZES):
        return None
    size = chance.choice(SIZES) - 1
    siblings = [name for name in far if known[name]["parent"] == known[topic]["parent"]]
    wrong = chance.sample(siblings, min(len(siblings), size // 2)) if chance.random() < 0.4 else []
    wrong += chance.sample([name for name in far if name not in wrong], size - len(wrong))
    ours = {label.casefold() for label in known[topic]["names"]}
    named = [chance.choice(known[name]["names"]) for name in wrong]
    return listed(
        chance.choice(ABOUT), chance.choice([topic, *known[topic]["names"]]), [n for n in named if n.casefold() not in ours], title, text, chance
    )


def named_example(fit: Sequence[str], unfit: Sequence[str], title: str, text: str, chance: random.Random) -> Example | None:
    """Which of some names, of any kind, a passage lies nearest to; those `unfit` are wrong for sure."""
    wrong = chance.sample(unfit, min(len(unfit), chance.choice(SIZES) - 1))
    return listed(chance.choice(ABOUT), chance.choice(fit), wrong, title, text, chance) if wrong else None


def about_example(topic: str, near: Collection[str], title: str, text: str, chance: random.Random) -> Example:
    """Yes or no: is it about this topic?"""
    known = topics()
    other = chance.choice([name for name in known if name != topic and name not in near])
    named = topic if chance.random() < 0.5 else other
    label, words = chance.choice(known[named]["names"]), ", ".join(chance.sample(known[named]["words"], 3))
    asked = f"about {label}" if chance.random() < 0.5 else f"{chance.choice(ABOUT)}: {label}, {words}"  # the second as use asks a multi task
    task = Task(name=asked, meaning="", labels={"yes": "", "no": ""})
    return Example("label", ask(task, title, text), "yes" if named == topic else "no", task)


def mood_example(mood: str, also: Collection[str], text: str, chance: random.Random) -> Example:
    """Which mood a message has; `also` are other moods that people found in it."""
    known = {name: body for name, body in moods().items() if name not in ("positive", "negative")}
    close = {name for group in NEAR_MOODS if mood in group for name in group} | set(also)
    far = [name for name in known if name != mood and name not in close]
    wrong = chance.sample(far, min(len(far), chance.choice(SIZES[:9]) - 1))
    taken: list[str] = []
    for name in wrong:  # those that are far from the gold one may yet be near to each other, which does no harm
        taken.append(chance.choice([name, *known[name]["names"]]))
    return listed(chance.choice(FEELING), chance.choice([mood, mood, *known[mood]["names"]]), taken, "", text, chance)


def tone_example(tone: str, title: str, text: str, chance: random.Random) -> Example:
    """Good or bad, under other names than the desk's."""
    names = {each: chance.choice([each, *moods()[each]["names"]]) for each in ("positive", "neutral", "negative")}
    if tone != "neutral" and chance.random() < 0.5:
        del names["neutral"]
    return listed(
        chance.choice(("tone", "sentiment", "polarity", "verdict", "opinion")),
        names[tone],
        [n for key, n in names.items() if key != tone],
        title,
        text,
        chance,
    )


def title_example(title: str, others: Sequence[str], text: str, chance: random.Random) -> Example | None:
    """Which of some titles the text stood under."""
    fit = [other for other in dict.fromkeys(others) if other != title and 4 < len(other) <= 70 and is_name(other)]
    if not 4 < len(title) <= 70 or not is_name(title) or not fit:
        return None
    names = [title, *chance.sample(fit, min(len(fit), chance.choice((1, 2, 3, 4, 5))))]
    chance.shuffle(names)
    task = Task(name=chance.choice(("title", "headline", "heading")), meaning="", labels=dict.fromkeys(names, ""))
    return Example("label", ask(task, "", text), title, task)


def mention_example(inside: Sequence[str], outside: Sequence[str], title: str, text: str, chance: random.Random) -> Example | None:
    """Which of some names or phrases stands in the text."""
    lowered = f"{title} {text}"[: prompts.LABEL_CHARS - 100].lower()
    inside = [name for name in inside if name.lower() in lowered and is_name(name) and len(name) <= 40]
    outside = [name for name in dict.fromkeys(outside) if name.lower() not in lowered and is_name(name) and len(name) <= 40]
    if not inside or not outside:
        return None
    gold = chance.choice(inside)
    names = [gold, *chance.sample(outside, min(len(outside), chance.choice((1, 2, 3, 5, 7))))]
    chance.shuffle(names)
    task = Task(name=chance.choice(("mentions", "names", "who or what", "keyword")), meaning="", labels=dict.fromkeys(names, ""))
    return Example("label", ask(task, title, text), gold, task)

"""From feedback to a dataset: what still holds, which part of it is trained on, and which part the gate keeps to itself. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.events import FeedbackGiven, digest_of

_WORD = re.compile(r"\w+")
NEAR = 0.7  # Jaccard of the word sets from which two texts count as the same story


class Example(BaseModel):
    """One labelled text. `incorrect` is what the model had said, empty for a confirmation."""

    model_config = ConfigDict(frozen=True)

    task: str
    title: str
    text: str
    label: str
    incorrect: str = ""
    story: str = ""
    feedback_id: str
    split: Literal["train", "held_out"] = "train"


class Snapshot(BaseModel):
    """The dataset of one run. Its digest is the run's id, so that the same corrections never train twice."""

    model_config = ConfigDict(frozen=True)

    role: str
    base: str
    recipe: dict[str, float]
    examples: list[Example]

    def digest(self) -> str:
        return digest_of(self.model_dump_json())

    def part(self, split: str) -> list[Example]:
        return [example for example in self.examples if example.split == split]


def effective(feedback: Iterable[FeedbackGiven], safety_tasks: Iterable[str] = ()) -> list[FeedbackGiven]:
    """What still holds: the newest word on each (text, task) that was not taken back. Safety tasks are decided by rules and never taught."""
    feedback = list(feedback)
    retracted = {item.retracts for item in feedback if item.kind == "retraction"}
    taught = [f for f in feedback if f.kind in ("correction", "confirmation") and f.correct and f.text + f.title and f.task not in set(safety_tasks)]
    newest: dict[tuple[str, str], FeedbackGiven] = {}
    for item in sorted(taught, key=lambda f: (f.given_at, f.id)):
        if item.id not in retracted:
            newest[(_same(item.title, item.text), item.task)] = item
    return sorted(newest.values(), key=lambda f: f.id)


def snapshot(feedback: Iterable[FeedbackGiven], *, role: str, base: str, share: float, recipe: Mapping[str, float]) -> Snapshot:
    """Split by story: near-duplicates (same story id, or word sets that overlap by NEAR) fall on the same side. `share` of the stories is held out,
    chosen by the digest of the story, so that an old example stays on its side when new ones come."""
    items = list(feedback)
    groups = _stories(items)
    examples = []
    for item in items:
        story = groups[item.id]
        part = int(digest_of("split", story)[:8], 16) / 0xFFFFFFFF
        examples.append(
            Example(
                task=item.task,
                title=item.title,
                text=item.text,
                label=item.correct,
                incorrect=item.incorrect,
                story=story,
                feedback_id=item.id,
                split="held_out" if part < share else "train",
            )
        )
    return Snapshot(role=role, base=base, recipe=dict(recipe), examples=examples)


def _stories(items: list[FeedbackGiven]) -> dict[str, str]:
    """Feedback id -> story: that of the first earlier item it is near to, or its own. Earlier by time, so that a new item never renames a story."""
    words = {item.id: frozenset(_WORD.findall(f"{item.title} {item.text}".lower())) for item in items}
    earlier: list[tuple[str, frozenset[str], str]] = []  # story, words, declared story id
    story_of: dict[str, str] = {}
    for item in sorted(items, key=lambda f: (f.given_at, f.id)):
        mine = words[item.id]
        near = next((story for story, theirs, declared in earlier if (item.story and item.story == declared) or jaccard(mine, theirs) >= NEAR), None)
        story = near or _same(item.title, item.text)
        earlier.append((story, mine, item.story))
        story_of[item.id] = story
    return story_of


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Overlap of two sets, 0 to 1; two empty sets are the same."""
    return len(a & b) / len(a | b) if a | b else 1.0


def _same(title: str, text: str) -> str:
    return digest_of(" ".join(f"{title} {text}".lower().split()))[:24]

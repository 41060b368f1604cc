"""From feedback to a dataset: what still holds, what of it may be taught, which part is trained on, and which part the gate keeps to itself. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.events import FeedbackGiven, digest_of
from shared.taxonomy import Task, label_set

_WORD = re.compile(r"\w+")
NEWS = "news"
NEAR = 0.7  # Jaccard of the word sets from which two texts count as the same story


class Example(BaseModel):
    """One labelled text. `incorrect` is what the model had said, empty for a confirmation; `collection` is that of the label set it was read by, left out
    of the JSON where it is the news', so that snapshots of before there was such a field, and their digests, stay what they were."""

    model_config = ConfigDict(frozen=True)

    task: str
    title: str
    text: str
    label: str
    incorrect: str = ""
    story: str = ""
    feedback_id: str
    split: Literal["train", "held_out"] = "train"
    collection: str = Field(default=NEWS, exclude_if=lambda named: named == NEWS)

    @property
    def question(self) -> tuple[str, str]:
        """Which task of which label set: two sets may call their tasks the same and mean something else."""
        return self.collection, self.task


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


def read_by(item: FeedbackGiven) -> str:
    """The collection of the label set that its text is read by; empty for what is no name of a collection: it comes from outside."""
    try:
        return label_set(item.collection).collection
    except ValueError:
        return ""


def teachable(item: FeedbackGiven, part: str = "llm") -> bool:
    """Whether an adapter (or of the part `neural` a head) may learn it: a task that the language model is asked in its label set, and labels that it has
    (a set may have changed since). A task that is about safety as a whole is never taught."""
    try:
        task = label_set(item.collection).tasks[item.task]
        task.chosen(item.correct)
    except (KeyError, ValueError):
        return False
    return part in task.parts and not task.safety


def lowers(item: FeedbackGiven) -> bool:
    """Whether it takes a safety label back from its text, as far as that is known. It acts on that very text through the overlay and is never taught:
    alike is not the same (services.classifier.decide says so of the overlay), and a model learns for all that is alike. Of `teachable` ones."""
    task = label_set(item.collection).tasks[item.task]
    if not task.safety_labels:
        return False
    said, after = _said_before(item, task), task.chosen(item.correct)
    # where nothing tells what it takes back it may be the worst; the gravest label takes nothing back, whatever was said
    before = {label for label in (task.safety_labels if said is None else said) if task.severity(label)}
    if task.kind == "multi":
        return not before <= set(after)
    return max(map(task.severity, before), default=0) > max(map(task.severity, after), default=0)


def _said_before(item: FeedbackGiven, task: Task) -> set[str] | None:
    """The labels that the verdict or the language model alone had said; None where nothing tells."""
    said = {name.strip() for name in (item.correct if item.kind == "confirmation" else item.incorrect).split(",")} - {""}
    decision = item.document.decision.get(task.name) if item.document else None
    verdict = item.document.verdict.get(task.name) if item.document else None
    if decision:
        said |= {*decision.labels, decision.label}
    if verdict:
        said |= {label for label, p in verdict.probabilities.items() if p >= task.threshold} if task.kind == "multi" else {verdict.label}
    return said if said or decision or verdict else None


def effective(feedback: Iterable[FeedbackGiven]) -> list[FeedbackGiven]:
    """What still holds: the newest word on each (label set, text, task) that was not taken back."""
    feedback = list(feedback)
    retracted = {item.retracts for item in feedback if item.kind == "retraction"}
    taught = [f for f in feedback if f.kind in ("correction", "confirmation") and f.correct and f.text + f.title]
    newest: dict[tuple[str, str, str], FeedbackGiven] = {}
    for item in sorted(taught, key=lambda f: (f.given_at, f.id)):
        if item.id not in retracted:
            newest[read_by(item), _same(item.title, item.text), item.task] = item
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
                collection=read_by(item),
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
        same = next((story for story, theirs, declared in earlier if (item.story and item.story == declared) or near(mine, theirs)), None)
        story = same or _same(item.title, item.text)
        earlier.append((story, mine, item.story))
        story_of[item.id] = story
    return story_of


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Overlap of two sets, 0 to 1; two empty sets are the same."""
    both = len(a & b)
    return both / (len(a) + len(b) - both) if a or b else 1.0


def near(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether they overlap by NEAR. Sets of unlike sizes can't, which spares most pairs the counting: of 2,000 texts there are two million."""
    small, large = sorted((len(a), len(b)))
    return not (large and small / large < NEAR) and jaccard(a, b) >= NEAR


def _same(title: str, text: str) -> str:
    return digest_of(" ".join(f"{title} {text}".lower().split()))[:24]

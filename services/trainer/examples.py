"""Examples to train the bundled model on, made by code so that the answer is right by construction. Pure: no torch, no files.

Every prompt comes from shared.prompts and every value of an answer from shared.grounding, so that training asks to the letter what use asks. Labels
come of items labelled by hand and of distant supervision: the corpus a window of text is from, and strict counts of words
(services/trainer/supervision.py). The labels in NEVER are a desk's own, taught by its corrections; they stand in the prompts, and are never the answer here.
"""

import json
import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from services.trainer.supervision import NEVER, WORDS, cues
from shared import grounding, prompts
from shared.events import Link
from shared.taxonomy import Task

MOODS = {
    "positive": {"admiration", "amusement", "approval", "caring", "excitement", "gratitude", "joy", "love", "optimism", "pride", "relief"},
    "negative": {
        "anger",
        "annoyance",
        "disappointment",
        "disapproval",
        "disgust",
        "fear",
        "grief",
        "nervousness",
        "remorse",
        "sadness",
        "embarrassment",
    },
    "neutral": {"neutral"},
}
_QUESTION = re.compile(r"^(.{10,150}?) \?$", re.MULTILINE)
ASK = (
    "What is said about {x}?", "What about {x}?", "What do we know about {x}?", "{x}?", "Is there news on {x}?", "Tell me about {x}.",
    "What does it say on {x}?", "What happened with {x}?", "Why does {x} matter?", "Which part mentions {x}?",
)  # fmt: skip


Dressing = dict[str, list[str]]  # head, foot, actions, not_actions: filled lines that stand around a document's own


@dataclass(frozen=True)
class Example:
    """One prompt and its right answer. `kind` is label, metadata or answer; `task` and `gold` serve the measuring of labels."""

    kind: str
    messages: list[prompts.Message]
    answer: str
    task: Task | None = None


def ask(task: Task, title: str, text: str) -> list[prompts.Message]:
    """The prompt of a label task, as use asks it."""
    return prompts.label_messages(task, title or prompts.headed(text), text)


def window(pieces: list[str], chance: random.Random) -> str:
    """One to fourteen sentences in a row, at most about 1,000 characters: half of them short as a notice, half as long as what use reads."""
    start = chance.randrange(len(pieces))
    most = chance.choice((1, 2, 3, 5, 14, 14))
    taken: list[str] = []
    for piece in pieces[start : start + most]:
        if taken and len(" ".join(taken)) + len(piece) > 1000:
            break
        taken.append(piece)
    return " ".join(taken)


def asked(task: Task, gold: str, chance: random.Random, *, plain: bool = False) -> tuple[Task, str]:
    """The task as it is asked: mostly as the desk declares it, sometimes shuffled, shortened or renamed; with the gold label's name in it."""
    names = list(task.labels)
    way = 0.0 if plain else chance.random()
    if way < 0.6:
        return task, gold
    if way < 0.9:
        if way > 0.75:
            others = [name for name in names if name != gold]
            names = [gold, *chance.sample(others, chance.randint(1, len(others)))]
        chance.shuffle(names)
        return task.model_copy(update={"labels": dict.fromkeys(names, "")}), gold
    if task.name != "category":
        return _yes_no(task, gold, chance)
    if chance.random() < 0.4:
        return _yes_no(task, gold, chance)
    renamed = {name: chance.choice(cues()["renamed"][name]) for name in names if name not in NEVER}
    kept = [gold, *chance.sample([name for name in renamed if name != gold], chance.randint(1, len(renamed) - 1))]
    chance.shuffle(kept)
    topic = Task(name=chance.choice(("topic", "section", "desk", "subject")), meaning="", labels={renamed[name]: "" for name in kept})
    return topic, renamed[gold]


def _yes_no(task: Task, gold: str, chance: random.Random) -> tuple[Task, str]:
    about = gold if chance.random() < 0.5 else chance.choice([name for name in task.labels if name not in NEVER])
    return prompts.question(task, about), prompts.YES if about == gold else prompts.NO


def label_example(task: Task, gold: str, title: str, text: str, chance: random.Random, *, plain: bool = False) -> Example:
    """A label example; raises ValueError for a gold label that must not be taught."""
    if gold in NEVER:
        raise ValueError(f"{gold!r} is a desk's own label: the bundled model is not taught it")
    put, name = asked(task, gold, chance, plain=plain)
    return Example("label", ask(put, title, text), name, put)


def kind_example(source: str, title: str, text: str, chance: random.Random) -> Example | None:
    """What kind of text it is: a task that no desk has, so that the labels have to be read."""
    kinds = cues()["kinds"]
    if source not in kinds:
        return None
    others = sorted(set(kinds.values()) - {kinds[source]})
    names = [kinds[source], *chance.sample(others, chance.randint(1, 5))]
    chance.shuffle(names)
    task = Task(name=chance.choice(("kind", "genre", "type")), meaning="", labels=dict.fromkeys(names, ""))
    return Example("label", ask(task, title, text), kinds[source], task)


def urgent(text: str, level: str, cue: str, title: str, chance: random.Random) -> tuple[str, str]:
    """(title, text) with a sentence that carries a level of urgency put in, or as the title, at times alone."""
    if chance.random() < 0.3:
        return (title, cue) if chance.random() < 0.5 else (cue.rstrip("."), "")
    if chance.random() < 0.25:
        return cue.rstrip("."), text
    body = grounding.sentences(text)[:4]
    body.insert(chance.randint(0, len(body)), cue)
    return title, " ".join(body)


def noisy(pieces: list[str], dressing: Dressing, chance: random.Random) -> str:
    """The sentences as mail and feeds bring them: greetings and notices around them, now and then a request among them, in paragraphs."""
    body = list(pieces)
    for kind, odds in (("actions", 0.45), ("not_actions", 0.2)):
        if chance.random() < odds:
            body.insert(chance.randint(1, len(body)), chance.choice(dressing[kind]))
    step = chance.choice((2, 3, 4))
    parts = [" ".join(body[n : n + step]) for n in range(0, len(body), step)]
    head, foot = (chance.sample(dressing[part], min(len(dressing[part]), chance.choice((0, 0, 0, 1, 1, 2, 3)))) for part in ("head", "foot"))
    return "\n\n".join([*head, *parts, *foot])


def metadata_example(row: dict[str, Any], text: str, labels: dict[str, str], noise: Collection[str], chance: random.Random) -> Example:
    """The metadata JSON of a document: the first offered sentence that is not noise, and its names and phrases in the order of the document."""
    title = row["title"] or prompts.headed(text)
    slug = "-".join(WORDS.findall(title.lower())[:6])
    hosts = ("example.org", "news.example.com", "blog.example.net", "www.example.edu", "lists.example.org")
    links = [Link(url=f"https://{chance.choice(hosts)}/{chance.choice(('', 'post/', '2026/05/', 'a/'))}{slug[: chance.randint(4, 60)]}{'' if n == 0 else n}")
             for n in range(chance.choice((0, 0, 1, 2, 3)))]  # fmt: skip
    if chance.random() < 0.3:
        labels = labels | {"risk": "none"}
    messages = prompts.metadata_messages(title, text, links, labels=labels)
    shown = messages[1]["content"]
    offered = grounding.candidates(title, text, links)
    told = [sentence for sentence in offered.sentences if sentence in shown and not any(line in sentence or sentence in line for line in noise)]

    def first(values: list[str], most: int) -> list[str]:
        return sorted((value for value in values if value in shown), key=shown.index)[:most]

    answer = {
        "summary": (told or offered.sentences)[0], "key_topics": first(offered.topics[:4], 4), "entities": first(offered.entities[:5], 5),
        "action_items": first(offered.actions, 2), "related_links": first(offered.links, 3), "sentiment": labels["sentiment"],
        "urgency_level": labels["urgency"], "categories": [labels["category"]],
    }  # fmt: skip
    return Example("metadata", messages, compact(answer))


def answer_example(passages: list[str], chance: random.Random, ask: Sequence[str] = ASK) -> Example | None:
    """A question on something that one passage names and the others do not; the answer is the one or two sentences that name it."""
    gold, *others = passages
    pieces = [piece for piece in grounding.sentences(gold) if 30 <= len(piece) <= grounding.MAX_SENTENCE]
    subjects = [
        name
        for name in (*grounding.entities(gold)[:4], *grounding.topics("", gold)[:4])
        if len(name) > 4 and not any(name in other for other in others)
    ]
    if not subjects:
        return None
    subject = chance.choice(subjects)
    found = [piece for piece in pieces if subject in piece][:2]
    if not found:
        return None
    return _answering(chance.choice(ask).format(x=subject), passages, found, chance)


def repeat_example(passages: list[str], chance: random.Random) -> Example | None:
    """Say again one sentence, named by its passage or by its first words: the plainest copying."""
    n = chance.randrange(len(passages))
    pieces = [piece for piece in grounding.sentences(passages[n]) if 20 <= len(piece) <= grounding.MAX_SENTENCE]
    if not pieces:
        return None
    way = chance.random()
    if way < 0.4:
        question, found = f"What does passage {n + 1} say first?", pieces[0]
    else:
        found = chance.choice(pieces)
        words = found.split()
        question = f'Which sentence begins with "{" ".join(words[: chance.randint(1, 3)])}"?' if way < 0.7 else f'Repeat: "{" ".join(words[:5])} …"'
    messages = prompts.answer_messages(question, passages)
    return Example("answer", messages, compact([found])) if found in messages[1]["content"] else None


def leaflet_questions(text: str, others: list[str], chance: random.Random) -> Example | None:
    """A question that a health leaflet itself asks and answers, among other passages."""
    heads = list(_QUESTION.finditer(text))
    if not heads:
        return None
    head = chance.choice(heads)
    body = text[head.end() :].strip().split("\n\n")[0][:700]
    found = [piece for piece in grounding.sentences(body)[:-1] if 25 <= len(piece) <= grounding.MAX_SENTENCE][: chance.choice((1, 2))]
    return _answering(head[1] + "?", [body, *others], found, chance) if found else None


def _answering(question: str, passages: list[str], found: list[str], chance: random.Random) -> Example | None:
    order = passages[:]
    chance.shuffle(order)
    messages = prompts.answer_messages(question, order)
    return Example("answer", messages, compact(found)) if all(piece in messages[1]["content"] for piece in found) else None


def compact(value: Any) -> str:
    """JSON as the grammar of use has it: no white space, no escaping of letters."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

"""Examples to train the bundled model on, made by code so that the answer is right by construction. Pure: no torch, no files.

Every prompt comes from shared.prompts and every value of an answer from shared.grounding, so that training asks to the letter what use asks. Labels
come of distant supervision: the corpus a window of text is from, strict counts of words (services/trainer/cues.yaml), and sentences made to carry a
cue. The labels in NEVER are a desk's own, taught by its corrections; they stand in the prompts, and are never the answer here.
"""

import json
import random
import re
from dataclasses import dataclass
from typing import Any

from services.trainer.supervision import NEVER, WORDS, category_of, clear_winner, cues, hits, made_sentence, sentiment_of, urgency_of
from shared import grounding, prompts
from shared.events import Link
from shared.taxonomy import Task, label_set

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


@dataclass(frozen=True)
class Example:
    """One prompt and its right answer. `kind` is label, metadata or answer; `task` and `gold` serve the measuring of labels."""

    kind: str
    messages: list[prompts.Message]
    answer: str
    task: Task | None = None


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
    return Task(name=f"{task.name} is {about}", meaning="", labels={"yes": "", "no": ""}), "yes" if about == gold else "no"


def label_example(task: Task, gold: str, title: str, text: str, chance: random.Random, *, plain: bool = False) -> Example:
    """A label example; raises ValueError for a gold label that must not be taught."""
    if gold in NEVER:
        raise ValueError(f"{gold!r} is a desk's own label: the bundled model is not taught it")
    put, name = asked(task, gold, chance, plain=plain)
    return Example("label", prompts.label_messages(put, title, text), name, put)


def kind_example(source: str, title: str, text: str, chance: random.Random) -> Example | None:
    """What kind of text it is: a task that no desk has, so that the labels have to be read."""
    kinds = cues()["kinds"]
    if source not in kinds:
        return None
    others = sorted(set(kinds.values()) - {kinds[source]})
    names = [kinds[source], *chance.sample(others, chance.randint(1, 5))]
    chance.shuffle(names)
    task = Task(name=chance.choice(("kind", "genre", "type")), meaning="", labels=dict.fromkeys(names, ""))
    return Example("label", prompts.label_messages(task, title, text), kinds[source], task)


def labels_of(row: dict[str, Any], pieces: list[str], chance: random.Random, *, plain: bool = False) -> list[Example]:
    """Label examples from windows of one document, for each task that its words settle."""
    tasks = label_set().tasks
    text = window(pieces, chance)
    title = row["title"] if row["title"] and chance.random() < 0.5 else pieces[0][:120] if chance.random() < 0.3 else ""
    both = f"{title} {text}"
    made: list[Example] = []
    if category := category_of(row["source"], row.get("path", ""), both):
        made.append(label_example(tasks["category"], category, title, text, chance, plain=plain))
    if tone := sentiment_of(both, 2 if len(both) < 300 else 3):
        made.append(label_example(tasks["sentiment"], tone, title, text, chance, plain=plain))
    level = urgency_of(both)
    if level is None and urgency_of(both + " immediately") == "high":  # carries no cue of its own
        level = chance.choice(("low", "normal", "high"))
        cue, body = made_sentence(level, chance), grounding.sentences(text)[:4]
        body.insert(chance.randint(0, len(body)), cue)
        title, text = (cue.rstrip("."), text) if chance.random() < 0.25 else (title, " ".join(body))
    if level:
        made.append(label_example(tasks["urgency"], level, title, text, chance, plain=plain))
    if not plain and chance.random() < 0.25 and (kind := kind_example(row["source"], title, text, chance)):
        made.append(kind)
    return made


def sought(row: dict[str, Any], pieces: list[str], chance: random.Random, *, plain: bool = False) -> list[Example]:
    """Category examples from around sentences of a general corpus that are clearly about something rarer than the corpus itself."""
    if row["source"] not in ("congress_press", "openstax", "digitalgov", "changelog_transcripts"):
        return []
    made: list[Example] = []
    for at, piece in enumerate(pieces):
        found = clear_winner(hits(piece, cues()["category"]), 2)
        if found in (None, "politics", "technology") or chance.random() < 0.3:
            continue
        start = at - chance.choice((0, 0, 1))
        text = " ".join(pieces[max(0, start) : at + chance.choice((1, 2, 3, 5))])[:1000]
        counts = hits(text, cues()["category"])
        title = row["title"] if row["title"] and hits(row["title"], cues()["category"])[str(found)] else ""
        if clear_winner(counts, 3) == found and found not in NEVER:
            made.append(label_example(label_set().tasks["category"], str(found), title, text, chance, plain=plain))
    return made[:4]


def best_sentence(offered: grounding.Candidates, title: str, shown: str) -> str:
    """The offered sentence that says most: of the first four that are shown whole, the one that shares most words with the title and topics."""
    wanted = {word.lower() for word in WORDS.findall(f"{title} {' '.join(offered.topics)}".lower())} - grounding.STOP_WORDS
    able = [s for s in offered.sentences[:4] if s in shown] or offered.sentences[:1]
    return max(able, key=lambda s: len(wanted & set(WORDS.findall(s.lower()))) / (8 + len(s) / 20) - 0.05 * able.index(s))


def metadata_example(row: dict[str, Any], text: str, chance: random.Random) -> Example:
    """The metadata JSON of a document; its values in the order in which the document has them."""
    title = row["title"] or grounding.sentences(text)[0][:100]
    slug = "-".join(WORDS.findall(title.lower())[:6])
    hosts = ("example.org", "news.example.com", "blog.example.net", "www.example.edu", "lists.example.org")
    links = [Link(url=f"https://{chance.choice(hosts)}/{chance.choice(('', 'post/', '2026/05/', 'a/'))}{slug[: chance.randint(4, 60)]}{'' if n == 0 else n}")
             for n in range(chance.choice((0, 0, 1, 2, 3)))]  # fmt: skip
    labels = {"category": category_of(row["source"], row.get("path", ""), text[:900]) or chance.choice(sorted(cues()["renamed"])),
              "sentiment": sentiment_of(text[:900]) or "neutral", "urgency": urgency_of(text[:900]) or chance.choice(("low", "normal"))}  # fmt: skip
    if chance.random() < 0.3:
        labels["risk"] = "none"
    messages = prompts.metadata_messages(title, text, links, labels=labels)
    shown = messages[1]["content"]
    offered = grounding.candidates(title, text, links)

    def first(values: list[str], most: int) -> list[str]:
        return sorted((value for value in values if value in shown), key=shown.index)[:most]

    answer = {
        "summary": best_sentence(offered, title, shown), "key_topics": first(offered.topics[:4], 4), "entities": first(offered.entities[:5], 5),
        "action_items": first(offered.actions, 2), "related_links": first(offered.links, 3), "sentiment": labels["sentiment"],
        "urgency_level": labels["urgency"], "categories": [labels["category"]],
    }  # fmt: skip
    return Example("metadata", messages, compact(answer))


def answer_example(passages: list[str], chance: random.Random) -> Example | None:
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
    return _answering(chance.choice(ASK).format(x=subject), passages, found, chance)


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

"""Trees of examples out of passages and documents: what is asked of each, as far as it is known for sure."""

import random
from collections import Counter
from typing import Any

from services.trainer import examples as making
from services.trainer import tasks as lists
from services.trainer.examples import Example
from services.trainer.runs.gather import Document, Passage
from services.trainer.runs.teacher import Knowledge
from services.trainer.supervision import NEVER, fill, urgency_of
from shared.taxonomy import label_set

MOST = {"category": 4200, "sentiment": 5500, "urgency": 3500}  # trees with one label of the task, so that none outweighs
BY_PEOPLE = ("item", "comment", "written")  # sources whose tones people gave: elsewhere "neutral" only says that no word of the lists is there
Tree = tuple[str, bool, list[Example]]  # kind of batch; quiet; what is asked of one document


class Maker:
    """Trees out of passages and documents; the held-out examples aside."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.trees: list[Tree] = []
        self.held: list[Example] = []
        self.counts: Counter[str] = Counter()

    def dressing(self) -> making.Dressing:
        """Lines to stand around a document, filled anew."""
        p, chance = lists.phrases(), self.chance
        pick = {
            "head": (p["noise"]["head"], 3),
            "foot": (p["noise"]["foot"], 4),
            "actions": (p["actions"]["asked"], 2),
            "not_actions": (p["actions"]["not_asked"], 2),
        }
        return {name: [fill(line, p["slots"], chance) for line in chance.sample(found, count)] for name, (found, count) in pick.items()}

    def labels(self, passages: list[Passage], known: list[Knowledge]) -> None:
        """A tree of label tasks for each passage."""
        chance = self.chance
        order = list(range(len(passages)))
        chance.shuffle(order)
        order.sort(key=lambda n: passages[n].source != "item")  # labels by hand first: MOST is for the rest
        outside: list[str] = ["Nobody Atall"]
        titles: dict[str, list[str]] = {}
        for n in order:
            passage, knowledge = passages[n], known[n]
            made = [*self._desk(passage, knowledge), *self._open(passage, knowledge, titles.setdefault(passage.source, []), outside)]
            chance.shuffle(made)
            if made:
                self.trees.append(("label", passage.quiet, made))
            outside = [*outside[-60:], *passage.names]
            if passage.heading:
                titles[passage.source] = [*titles[passage.source][-80:], passage.heading]

    def _desk(self, passage: Passage, knowledge: Knowledge) -> list[Example]:
        """The desk's own tasks, where what is known is clear and does not contradict itself."""
        made = []
        told = passage.tone if passage.tone != "neutral" or passage.source in BY_PEOPLE else None
        said_of = (
            ("category", passage.category, knowledge.category),
            ("sentiment", told, knowledge.tone),
            ("urgency", passage.urgency or urgency_of(passage.shown), knowledge.urgency),
        )
        for task, own, said in said_of:
            if passage.quiet and task != "sentiment":
                continue  # what the teacher learnt of news says nothing of comments: "you're doing it wrong" was urgent to it
            gold = own or said
            doubt = own and said and own != said and passage.source != "item"  # people outvote the teacher
            if gold is None or gold in NEVER or doubt or self.counts[f"{task}={gold}"] >= MOST[task]:
                continue
            self.counts[f"{task}={gold}"] += 1
            for _ in range(2):
                made.append(making.label_example(label_set().tasks[task], gold, passage.title, passage.text, self.chance))
            if task == "sentiment" and self.chance.random() < 0.5:
                made.append(lists.tone_example(gold, passage.title, passage.text, self.chance))
        return made

    def _open(self, passage: Passage, knowledge: Knowledge, titles: list[str], outside: list[str]) -> list[Example]:
        """Tasks that no desk has."""
        chance, title, text = self.chance, passage.title, passage.text
        topic = passage.topic or (None if passage.moods else knowledge.topic)
        made: list[Example | None] = []
        if topic:
            made += [lists.topic_example(topic, knowledge.near, title, text, chance) for _ in range(3)]
            if chance.random() < 0.3:
                made.append(lists.about_example(topic, knowledge.near, title, text, chance))
        if knowledge.fit and not passage.moods:
            made += [lists.named_example(knowledge.fit, knowledge.unfit, title, text, chance) for _ in range(2)]
        for mood in [mood for mood in passage.moods if mood in lists.moods()][:1]:
            made += [lists.mood_example(mood, passage.moods, text, chance) for _ in range(3)]
        if passage.heading and chance.random() < 0.6:
            made.append(lists.title_example(passage.heading, titles, text, chance))
        if passage.names and chance.random() < 0.35:
            made.append(lists.mention_example(passage.names, outside, title, text, chance))
        if chance.random() < 0.12:
            made.append(making.kind_example(passage.source, title, text, chance))
        return [example for example in made if example]

    def urgency(self, passages: list[Passage], count: int) -> None:
        """Trees on how soon somebody must act: lines that say so, in passages that say nothing of it; and which kind of stress a message shows."""
        chance, p, task = self.chance, lists.phrases(), label_set().tasks["urgency"]
        silent = [
            passage
            for passage in passages
            if passage.text and not passage.quiet and urgency_of(f"{passage.title} {passage.text} immediately") == "high"
        ]
        for passage in chance.sample(silent, min(count, len(silent))):
            level = chance.choice(("low", "normal", "high"))
            cue = fill(chance.choice(p["urgency"][level]), p["slots"], chance)
            title, text = making.urgent(passage.text, level, cue, passage.title, chance)
            made = [making.label_example(task, level, title, text, chance) for _ in range(2)]
            if passage.category and passage.category not in NEVER and text:
                made.append(making.label_example(label_set().tasks["category"], passage.category, title, text, chance))
            self.trees.append(("label", False, made))
        for level, found in p["stress"].items():
            for line in found * 6:
                names = {"none": ("none", "no", "calm"), "low": ("low", "some", "mild"), "high": ("high", "strong", "severe")}
                way = chance.randrange(3)
                text = fill(line, p["slots"], chance)
                asked = lists.listed("stress", names[level][way], [n[way] for key, n in names.items() if key != level], "", text, chance)
                yes = lists.listed("stressed", "no" if level == "none" else "yes", ["yes" if level == "none" else "no"], "", text, chance)
                self.trees.append(("label", False, [asked, yes]))
        kinds = list(p["messages"])
        for kind, found in p["messages"].items():
            for line in found * 6:
                wrong = chance.sample([other for other in kinds if other != kind], chance.randint(1, len(kinds) - 1))
                name = chance.choice(("kind", "intent", "purpose", "kind of message"))
                text = fill(line, p["slots"], chance)
                self.trees.append(("label", False, [lists.listed(name, kind, wrong, "", text, chance) for _ in range(2)]))

    def document(self, document: Document, others: list[str]) -> str:
        """Trees in which something has to be copied: metadata, answers, repetitions. Returns a passage of it, to stand beside those of others."""
        chance, row, pieces = self.chance, document.row, document.pieces
        p = lists.phrases()
        at = chance.randrange(len(pieces))
        passage = " ".join(pieces[at : at + chance.randint(2, 5)])[:650]
        short = " ".join(pieces[at : at + chance.randint(1, 2)])[:300]
        shorts = [other[:300].rsplit(". ", 1)[0] + "." for other in chance.sample(others, min(len(others), chance.randint(1, 2)))]
        wish = [
            (0.9, "copy", lambda: self._metadata(row, pieces[at : at + chance.randint(1, 5)])),
            (0.25, "long", lambda: self._metadata(row, pieces[(start := chance.choice((0, 0, at))) : start + chance.randint(6, 22)])),
            (0.7, "copy", lambda: making.repeat_example([short, *shorts], chance)),
            (0.8, "copy", lambda: making.answer_example([short, *shorts], chance, (*making.ASK, *p["questions"]))),
            (
                0.2,
                "long",
                lambda: making.answer_example([passage, *chance.sample(others, min(len(others), 3))], chance, (*making.ASK, *p["questions"])),
            ),
            (1.0 if row["source"] == "medquad_nih" else 0.0, "copy", lambda: making.leaflet_questions(row["text"], shorts[:1], chance)),
        ]
        for odds, kind, make in wish:
            if chance.random() < odds and (made := make()):
                if document.held:
                    self.held.append(made)
                else:
                    self.trees.append((kind, False, [made]))
        return passage

    def _metadata(self, row: dict[str, Any], pieces: list[str]) -> Example:
        chance, dressing = self.chance, self.dressing()
        desk = label_set().tasks
        labels = {name: chance.choice(list(desk[name].labels)) for name in ("category", "sentiment", "urgency")}
        return making.metadata_example(row, making.noisy(pieces, dressing, chance), labels, [*dressing["head"], *dressing["foot"]], chance)

    def hold(self, passage: Passage) -> None:
        """Keep a held-out passage's label examples, as the desk asks them, for measuring."""
        for task, gold in (("category", passage.category), ("sentiment", passage.tone)):
            if gold and gold not in NEVER and (gold != "neutral" or passage.source in BY_PEOPLE):
                self.held.append(making.label_example(label_set().tasks[task], gold, passage.title, passage.text, self.chance, plain=True))
        if passage.text and (level := urgency_of(f"{passage.title} {passage.text}")):
            self.held.append(making.label_example(label_set().tasks["urgency"], level, passage.title, passage.text, self.chance, plain=True))

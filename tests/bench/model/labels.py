"""Labels: the language model alone, the MiniLM head, both fused as in use, the encoder alone by the label's name; beside majority and chance."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from deploy.local.environment import BUNDLED_MODEL
from services.classifier.calibration import Fusions, calibration
from services.classifier.fusion import UNCALIBRATED, decide
from services.classifier.head import Head
from services.classifier.pooled import Calibration
from services.inference.enrich import Enricher
from shared.by_name import ByName
from shared.encoder import Encoder
from shared.errors import PermanentError
from shared.events import LabelScore
from shared.heads import head_text, scores_of
from shared.pooling import NEW_NAMES
from shared.taxonomy import label_set
from tests.bench.model.engine import AT_ONCE, NAME, each
from tests.bench.model.figures import Figure, against, macro_f1, recalls, share
from tests.bench.model.sets import MEANT, Item, Quiz, known_names
from tests.bench.model.tables import Cell, Section

NEWS = "news"
WRONG = LabelScore(label="(none)", probability=0.0)
UNTAUGHT = Calibration(unlearned=NEW_NAMES, named=True)  # the bundled model is a small one, and was taught none of these sets


@dataclass(frozen=True)
class Parts:
    """Who is asked. `head` is the one that ships."""

    enricher: Enricher
    encoder: Encoder
    head: Head

    async def scores(self, quiz: Quiz) -> list[LabelScore]:
        """What the language model says of each item; where it answers no label at all, that is wrong."""
        return await each(quiz.items, partial(self._ask, quiz), 3 * AT_ONCE)

    async def _ask(self, quiz: Quiz, item: Item) -> LabelScore:
        try:
            return await self.enricher.label(quiz.task, item.head, item.text, NAME)
        except PermanentError:
            return WRONG


def by_name(quiz: Quiz, parts: Parts, meanings: Mapping[str, str]) -> list[dict[str, float]]:
    """What the classifier's encoder says by the labels' names and meanings, and by what they are told by where a name alone means nothing."""
    told = quiz.task.model_copy(update={"labels": {label: quiz.told.get(label, meanings.get(label, "")) for label in quiz.task.labels}})
    voice = ByName.of(parts.encoder, [told])
    found = scores_of(parts.encoder, [head_text(item.title, item.text) for item in quiz.items], voice.says)
    return [one[quiz.task.name] for one in found]


def by_head(quiz: Quiz, parts: Parts) -> list[dict[str, float]]:
    """The head's probabilities for the labels that are offered, adding up to 1."""
    found = []
    for answer in parts.head.scores(parts.encoder, [head_text(item.head, item.text) for item in quiz.items]):
        known = {label: p for label, p in answer[quiz.task.name].items() if label in quiz.task.labels}
        found.append({label: p / sum(known.values()) for label, p in known.items()})
    return found


def together(quiz: Quiz, score: LabelScore, head: dict[str, float], weights: Calibration = UNCALIBRATED) -> str:
    """The label that the classifier decides for without rules and corrections."""
    decision = decide(quiz.task, llm=None if score is WRONG else score, neural=head, calibration=weights)
    return decision.label if decision else ""


def best(chances: dict[str, float]) -> str:
    """The likeliest label."""
    return max(chances, key=lambda label: chances[label])


def right(quiz: Quiz, said: Sequence[str]) -> list[bool]:
    """Item by item."""
    return [label in item.right for label, item in zip(said, quiz.items, strict=True)]


def f1(quiz: Quiz, said: Sequence[str]) -> Figure:
    """Macro-F1 over the set's own classes, in percent."""
    classes = [quiz.classes.get(label, label) for label in said]
    return Figure(100 * macro_f1([item.gold for item in quiz.items], classes), len(said))


def majority(quiz: Quiz) -> Figure:
    """The best that one and the same answer would do."""
    counts = Counter(label for item in quiz.items for label in item.right)
    return Figure(100 * max(counts.values()) / len(quiz.items), len(quiz.items))


def chance(quiz: Quiz) -> Figure:
    """What a blind choice among the labels would do."""
    return Figure(100 * sum(len(item.right) for item in quiz.items) / len(quiz.items) / len(quiz.task.labels), len(quiz.items))


async def known_tasks(quizzes: Sequence[Quiz], parts: Parts) -> Section:
    """The tasks of Feedloop, asked of the language model, the head, and both."""
    rows: list[tuple[Cell, ...]] = []
    detail = {}
    learned = Fusions(BUNDLED_MODEL / "fusion").of(NEWS)  # as long as no adapter was taught
    for quiz in quizzes:
        scores = await parts.scores(quiz)
        neural = by_head(quiz, parts)
        said = [score.label for score in scores]
        headed = [best(chances) for chances in neural]
        weights = calibration(learned, label_set(NEWS), quiz.task.name, {})
        fused = [together(quiz, score, n, weights) for score, n in zip(scores, neural, strict=True)]
        verdict = against(right(quiz, said), right(quiz, headed))
        rows.append((quiz.name, len(quiz.items), share(right(quiz, said)), f1(quiz, said), share(right(quiz, headed)), f1(quiz, headed),
                     share(right(quiz, fused)), majority(quiz), chance(quiz), verdict))  # fmt: skip
        detail[quiz.name] = {"recall": recalls([item.gold for item in quiz.items], [quiz.classes.get(label, label) for label in said])}
    columns = ("set", "n", "LLM", "F1", "head", "F1 of the head", "both, as in use", "majority", "chance", "LLM against head")
    about = (
        "Accuracy with its 95 % bootstrap interval, and macro-F1. LLM: the language model alone, by constrained choice; head: the shipped linear head "
        "on MiniLM; the last column is the paired difference in points."
    )
    return Section("Category, sentiment, urgency", columns, rows, about, {"detail": detail})


async def own_names(quizzes: Sequence[Quiz], parts: Parts) -> Section:
    """Sets of others by labels that no desk of ours has, asked of the language model and, by the label's name, of the encoder. The training may have
    listed some of the names in tasks of its own, which the third column counts; but for GoEmotions and the headlines it saw no text of these sets."""
    rows: list[tuple[Cell, ...]] = []
    detail = {}
    for quiz in quizzes:
        scores = await parts.scores(quiz)
        said, named = [score.label for score in scores], by_name(quiz, parts, {})
        meant = share(right(quiz, [best(chances) for chances in by_name(quiz, parts, MEANT)])) if set(quiz.task.labels) <= set(MEANT) else ""
        nearest = [best(chances) for chances in named]
        fused = [together(quiz, score, chances, UNTAUGHT) for score, chances in zip(scores, named, strict=True)]
        verdict = against(right(quiz, fused), right(quiz, said))
        rows.append((quiz.name, len(quiz.task.labels), known_names(quiz.task.labels), len(quiz.items), share(right(quiz, said)), f1(quiz, said), share(right(quiz, nearest)),
                     f1(quiz, nearest), meant, share(right(quiz, fused)), majority(quiz), chance(quiz), verdict))  # fmt: skip
        detail[quiz.name] = {"recall": recalls([item.gold for item in quiz.items], said)}
    columns = (
        "set",
        "labels",
        "of them taught",
        "n",
        "LLM",
        "F1",
        "encoder by name",
        "its F1",
        "with meanings",
        "both, as in use",
        "majority",
        "chance",
        "in use against LLM",
    )
    about = (
        "The labels are asked by names of the set's own, or of ours, with no example of them; the third column counts the names that some list of the "
        "training holds too, be it for another question (yes and no, or news as a kind of message). Other rows of GoEmotions and of the headlines are learnt from, nothing of the other sets. Encoder by name: what the "
        "classifier's encoder says where no head was trained (shared/by_name.py), with no meanings but of yes and no; then with a few "
        "words for each label (MEANT in tests/bench/model/sets.py) where a desk would write some. The last column is the paired difference in points."
    )
    return Section("Label sets of others, by their own names", columns, rows, about, {"detail": detail})

"""Does a verdict come whatever happens: 10,000 texts of noise, and each part broken in turn. With the real Decider, in this process."""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree

from pydantic import ValidationError

from services.classifier.calibration import Fusions
from services.classifier.decide import Decider
from services.classifier.overlay import Overlay
from services.classifier.rulebook import RuleBook
from services.classifier.settings import Settings
from shared.encoder import Encoder
from shared.errors import FeedloopError, one_line
from shared.events import Decision, LabelScore
from shared.taxonomy import label_set
from tests.bench.classifier.screen import COLLECTION, Neurons, Screen, heads_of, in_danger
from tests.bench.model.tables import Cell, Section

FLAT_MB = 60.0  # what the process may grow by over all texts but the first tenth, which fills caches and arenas
DANGER, HARMLESS = "I want to kill myself", "I went to the store"


@dataclass
class Told:
    """What came of many texts. `named`: refusals with a reason of ours; `unnamed`: anything else that was raised, which is a failure."""

    verdicts: int = 0
    named: Counter[str] = field(default_factory=Counter)
    unnamed: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0  # of processor
    slowest: str = ""
    megabytes: list[float] = field(default_factory=list)  # of memory: at the start, after a tenth of the texts, at the end

    @property
    def texts(self) -> int:
        return self.verdicts + self.named.total() + self.unnamed.total()

    @property
    def grown(self) -> float:
        """MB, from the first tenth to the end."""
        return self.megabytes[-1] - self.megabytes[1]


def resident_mb() -> float:
    """Memory of this process, after what is garbage was given back."""
    import psutil

    gc.collect()
    return float(psutil.Process().memory_info().rss / 2**20)


def through(decide: Callable[[str], dict[str, Decision]], texts: Iterable[tuple[str, str]], number: int) -> Told:
    """Decide each text (sort, text) and note what came of it. A verdict counts where every task that has a default, at least, was decided."""
    told = Told(megabytes=[resident_mb()])
    wanted = {name for name, task in label_set(COLLECTION).tasks.items() if task.default}
    for n, (sort, text) in enumerate(texts, 1):
        began = time.process_time()  # what else runs on the machine must not look like a slow text
        try:
            decided = decide(text)
            if not wanted <= set(decided):
                raise RuntimeError(f"no decision on {', '.join(sorted(wanted - set(decided)))}")
            told.verdicts += 1
        except (FeedloopError, ValidationError) as error:
            told.named[f"{type(error).__name__}: {one_line(error, 100)}"] += 1
        except Exception as error:  # noqa: BLE001 - this is what is looked for: whatever is raised is counted and shown
            told.unnamed[f"{type(error).__name__} on {sort}: {one_line(error, 100)}"] += 1
        if (seconds := time.process_time() - began) > told.slowest_s:
            told.slowest_s, told.slowest = seconds, sort
        if n == max(1, number // 10):
            told.megabytes.append(resident_mb())
    told.megabytes.append(resident_mb())
    return told


def of_noise(told: Told) -> Section:
    """The table, with every failure in it."""
    refused = "; ".join(f"{count} × {reason}" for reason, count in told.named.most_common(3))
    failed = "; ".join(f"{count} × {reason}" for reason, count in told.unnamed.most_common(5))
    start, tenth, end = (f"{value:.0f} MB" for value in (told.megabytes[0], told.megabytes[1], told.megabytes[-1]))
    sound = not told.unnamed and told.grown <= FLAT_MB
    row: tuple[Cell, ...] = (told.texts, told.verdicts, refused or "none", failed or "none", start, tenth, end,
                             f"{told.slowest_s:.2f} s ({told.slowest})", "yes" if sound else "NO")  # fmt: skip
    about = (
        "Random bytes, emoji runs, marks upon marks, hidden characters, broken pieces of markup and of prompts, empty texts, 100 KB of one word: through rules "
        f"and head. Wanted: a verdict or a refusal that names its reason for each, and at most {FLAT_MB:.0f} MB more memory at the end than after a tenth."
    )
    columns = (
        "texts",
        "verdicts",
        "refused with a reason",
        "failed",
        "memory at first",
        "after a tenth",
        "at the end",
        "slowest (processor)",
        "wanted",
    )
    return Section("Noise", columns, [row], about)


def broken(head: Neurons, encoder: Encoder, work: Path) -> Section:
    """Each part broken in turn; a text of danger and a harmless one are decided. What is wanted of each is beside it."""
    rows: list[tuple[Cell, ...]] = []

    def note(name: str, screen: Screen, verdict: dict[str, LabelScore] | None, problem: str, danger: bool = True) -> None:
        decided = [screen.decide(text, verdict) for text in (DANGER, HARMLESS)]
        labels = [{task: one.label for task, one in each.items()} for each in decided]
        met = all("risk" in each for each in decided) and (in_danger(labels[0]) or not danger)
        shown = [", ".join(f"{task} {one.label} ({one.by})" for task, one in each.items()) for each in decided]
        rows.append((name, *shown, problem or "–", "yes" if met else "NO"))

    whole = Screen.of(head=head)
    for name, verdict in nonsense().items():
        note(f"language model: {name}", whole, verdict, "")
    with heads_of(encoder, work / "no-head") as (missing, problem):
        note("no head in its folder", Screen.of(head=missing), None, problem)
    (work / "bad-head").mkdir(parents=True, exist_ok=True)
    (work / "bad-head" / "head.json").write_text("{")
    with heads_of(encoder, work / "bad-head") as (damaged, problem):
        note("a damaged head", Screen.of(head=damaged), None, problem)
    rules = work / "rules"
    copytree(Settings.model_fields["rules"].default, rules)
    book = RuleBook(rules, label_set)
    (rules / "zz-broken.yaml").write_text("rules: [{id: broken")
    book.refresh()
    note("a rule file broken while it runs", Screen(Decider(book, Overlay(), label_set), head), None, book.problem)
    weights = work / "fusion"
    weights.mkdir()
    (weights / f"{COLLECTION}.json").write_text("{}")
    fusions = Fusions(weights)
    note("a file of learned weights that is none", Screen(Decider(RuleBook(rules_that_ship(), label_set), Overlay(), label_set, fusions), head), None,
         fusions.problem)  # fmt: skip
    note("rules alone: head and language model away", Screen.of(), None, "")
    note("nothing but the defaults: no rule, head or language model", Screen.of(rules=False), None, "", danger=False)
    about = (
        f"What is decided of “{DANGER}” and of “{HARMLESS}”. Wanted: a decision on risk for both, and danger seen in the first, save where no part is left "
        "that could see it. The last but one column is what the service reports."
    )
    return Section("Parts broken in turn", ("broken", f"“{DANGER}”", f"“{HARMLESS}”", "reported", "wanted"), rows, about)


def rules_that_ship() -> Path:
    return Path(Settings.model_fields["rules"].default)


def nonsense() -> dict[str, dict[str, LabelScore]]:
    """Answers of a language model that lost its mind: they pass the events' own checks, and mean nothing."""
    tasks = label_set(COLLECTION).tasks
    return {
        "labels that are none": {task: _named("banana", 1.0) for task in tasks},
        "tasks that are none": {"horoscope": _named("aries", 1.0)},
        "all probabilities 0": {name: LabelScore(label=label, probability=0.0, probabilities=dict.fromkeys(task.labels, 0.0))
                                for name, task in tasks.items() for label in [next(iter(task.labels))]},
        "certain that all is well": {name: _named(task.default or next(iter(task.labels)), 1.0) for name, task in tasks.items()},
        "probabilities that add up to 4": {name: LabelScore(label=label, probability=1.0, probabilities=dict.fromkeys(task.labels, 1.0))
                                           for name, task in tasks.items() for label in [next(iter(task.labels))]},
    }  # fmt: skip


def _named(label: str, p: float) -> LabelScore:
    return LabelScore(label=label, probability=p)

"""The real Decider on bare texts, with parts that can be switched off: what the bench knows of how services.classifier is put together.

Danger: the verdict says risk high, or an emotion of self-harm. A person should look at such a text soon; it is no diagnosis.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from deploy.local.environment import BUNDLED_MODEL
from services.classifier.calibration import Fusions
from services.classifier.decide import Decider, Neural
from services.classifier.live_head import LiveHead
from services.classifier.overlay import Overlay
from services.classifier.rulebook import RuleBook
from services.classifier.rules import RuleSet
from services.classifier.settings import Settings
from services.trainer.runs import train_head
from services.trainer.runs.heads.wellbeing import read_folder
from shared.clock import utc_now
from shared.encoder import Encoder
from shared.errors import ConfigError
from shared.events import Decision, DocumentEnriched, DocumentIngested, LabelScore, Metadata, ModelStamp, SourceRef, digest_of
from shared.objects import ObjectStore
from shared.registry import Registry, base_id, weights_of
from shared.taxonomy import label_set

COLLECTION = "wellbeing"
ROOT = Path(__file__).resolve().parents[3]
SHIPPED_HEAD, SHIPPED_FUSION = ROOT / "deploy" / "model" / "heads" / COLLECTION, ROOT / "deploy" / "model" / "fusion"
LINES = ROOT / "services" / "trainer" / "wellbeing"
SPOKE = ModelStamp(base=base_id(str(BUNDLED_MODEL)), weights=weights_of(str(BUNDLED_MODEL)))  # the learned weights are those of this language model
SELF_HARM = ("self_harm_low", "self_harm_high")
AT = datetime(2026, 1, 1, tzinfo=UTC)
Verdict = Mapping[str, LabelScore]  # what the language model says, by task


def in_danger(labels: Mapping[str, str]) -> bool:
    """Whether a verdict (task -> label), or the truth, says that somebody is in danger."""
    return labels.get("risk") == "high" or labels.get("emotion") in SELF_HARM


class Neurons(Protocol):
    """A LiveHead, or what answers like one."""

    def score(self, items: Sequence[tuple[str, str]], collection: str) -> list[Neural]: ...


class Remembered:
    """A head that is asked about each text once, so that many ways of deciding can be compared. Not for timing."""

    def __init__(self, head: Neurons) -> None:
        self._head, self._known = head, dict[tuple[str, str, str], Neural]()

    def score(self, items: Sequence[tuple[str, str]], collection: str) -> list[Neural]:
        for item in items:
            if (key := (*item, collection)) not in self._known:
                self._known[key] = self._head.score([item], collection)[0]
        return [self._known[(*item, collection)] for item in items]


class NoRules(RuleBook):
    """A rule book without a rule in it."""

    def __init__(self) -> None:
        self.rules, self.problem = RuleSet([], label_set), ""

    def refresh(self) -> bool:
        return False


@dataclass(frozen=True)
class Screen:
    """Rules, head and learned weights, put together as the service does it; `neural` None where the head is away."""

    decider: Decider
    neural: Neurons | None = None

    @classmethod
    def of(cls, *, rules: bool = True, head: Neurons | None = None, fusion: Path | None = None) -> "Screen":
        """Raises ConfigError where the rules that ship are not sound."""
        book = RuleBook(Settings.model_fields["rules"].default, label_set) if rules else NoRules()
        return cls(Decider(book, Overlay(), label_set, Fusions(fusion)), head)

    def decide(self, text: str, verdict: Verdict | None = None, collection: str = COLLECTION, title: str = "") -> dict[str, Decision]:
        """The decision on each task. `verdict`: what the language model said, None where it is away."""
        neural = self.neural.score([(title, text)], collection)[0] if self.neural else Neural()
        return self.decider.document(document(text, verdict, collection, title), neural).decision

    def at_risk(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text's verdict says danger."""
        return [in_danger({task: decision.label for task, decision in self.decide(text).items()}) for text in texts]


def document(text: str, verdict: Verdict | None, collection: str, title: str = "") -> DocumentIngested:
    """A text as it reaches the classifier: enriched where the language model has spoken."""
    source = SourceRef(id="bench", kind="api", title="bench")
    fields = {
        "id": digest_of("bench", title, text.encode("utf-8", "replace").decode())[:24], "version": "1", "source": source, "title": title, "text": text,
        "published_at": AT, "received_at": AT, "story": "", "collection": collection,
    }  # fmt: skip
    if verdict is None:
        return DocumentIngested.model_validate(fields)
    nothing = Metadata(key_topics=[], entities=[], sentiment="", urgency_level="", categories=[], related_links=[], summary="", action_items=[])
    more = {"metadata": nothing, "verdict": dict(verdict), "model": SPOKE, "prompt_hash": "", "enriched_at": AT}
    return DocumentEnriched.model_validate(fields | more)


def danger(decisions: Mapping[str, Decision]) -> float:
    """How likely danger is by the verdict, 0 to 1: 1 where it was settled so; else the higher of risk high and self-harm."""
    if in_danger({task: decision.label for task, decision in decisions.items() if decision.by in ("rule", "correction")}):
        return 1.0
    risk, emotion = decisions.get("risk"), decisions.get("emotion")
    of_risk = risk.probabilities.get("high", 0.0) if risk else 0.0
    of_emotion = sum(emotion.probabilities.get(label, 0.0) for label in SELF_HARM) if emotion else 0.0
    return min(1.0, max(of_risk, of_emotion))


@contextmanager
def heads_of(encoder: Encoder, folder: Path) -> Iterator[tuple[LiveHead, str]]:
    """The heads of a folder as the service holds them, and what it says is wrong with them; empty where nothing is."""
    with tempfile.TemporaryDirectory() as store:
        head = LiveHead(encoder, folder, Registry(ObjectStore(store), Path(store) / "cache"), "bench", utc_now)
        head.start()
        yield head, head.problem


@contextmanager
def live_head(encoder: Encoder, folder: Path) -> Iterator[LiveHead]:
    """The head of a folder in use. Raises ConfigError where it is not sound."""
    with heads_of(encoder, folder) as (head, problem):
        if problem:
            raise ConfigError(problem)
        yield head


def head_folder(encoder: Encoder, work: Path) -> tuple[Path, str]:
    """The head for these texts, and what is to be said of it: the one that ships, else one trained now on the authored lines."""
    if (SHIPPED_HEAD / "head.json").is_file():
        return SHIPPED_HEAD, "the head is the one that ships"
    lines, out = read_folder(LINES, label_set(COLLECTION)), work / COLLECTION
    train_head.train(lines, label_set(COLLECTION), encoder, out, keep=work / "vectors")
    return out, f"no head for these labels ships yet, so a logistic one was trained now on the {len(lines)} lines of services/trainer/wellbeing"

"""One probability for each label out of what several parts say: temperature scaling, then log-linear pooling. Pure, and shared because use (classifier)
and fitting (trainer) must agree.

Each part's probabilities are sharpened or softened by one temperature (Guo et al. 2017, On Calibration of Modern Neural Networks). Then, over the parts
that are there (Genest & Zidek 1986, Combining Probability Distributions):

    one label holds     score(label) = bias(label) + sum of weight(part, label) * log p(part, label),   softmax over the labels
    any number hold     score(label) = bias(label) + sum of weight(part, label) * logit p(part, label), sigmoid of each

The biases and the weights as they were learned hold for all parts together. Where one is missing, the weights of the others are made to add up to 1 and
there is no bias: a single part then says what its temperature makes of it. A label that a part was never taught counts as log(1 / number of labels) in
its voice, so that it neither proposes nor forbids it; where any number of labels hold, the part is left out for that label.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import ConfigError, one_line
from shared.events import digest_of

LEAST = 1e-6  # a probability of 0 would forbid a label whatever the other parts say
Voices = Mapping[str, Mapping[str, float]]  # part -> label -> probability
Weight = Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)]
Finite = Annotated[float, Field(ge=-1_000, le=1_000, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class TaskFusion(BaseModel):
    """What was learned for one task. `weights`: part -> label -> weight; `others`: part -> weight, for a label that the split did not have.
    `scores`: the parts that spoke ("llm+neural") -> their non-conformity scores, ascending (shared.conformal)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: list[str] = Field(min_length=1)
    temperatures: dict[str, Annotated[float, Field(gt=0, le=1_000)]] = {}
    weights: dict[str, dict[str, Weight]] = {}
    others: dict[str, Weight] = {}
    bias: dict[str, Finite] = {}
    thresholds: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(
        default={}, description="see `chosen`; of a multi task: from where a label holds"
    )
    scores: dict[str, list[Share]] = {}
    rows: dict[str, int] = Field(default={}, description="examples: `fitted`, `conformal`")

    @model_validator(mode="after")
    def _speaks_of_its_parts(self) -> "TaskFusion":
        for name in ("temperatures", "weights", "others"):
            if strange := sorted(set(getattr(self, name)) - set(self.parts)):
                raise ValueError(f"{name} speak of {strange[0]!r}, which is none of its parts {self.parts}")
        if any(scores != sorted(scores) for scores in self.scores.values()):
            raise ValueError("the scores are not in ascending order")
        return self

    def weighed(self, present: Sequence[str], label: str) -> dict[str, float]:
        """Part -> weight for a label, of the parts that are present."""
        default = sum(self.others.values()) / len(self.others) if self.others else 1.0
        weights = {part: self.weights.get(part, {}).get(label, self.others.get(part, default)) for part in present}
        if self.whole(present):
            return weights
        total = sum(weights.values())
        return {part: weight / total if total else 1 / len(weights) for part, weight in weights.items()}

    def whole(self, present: Sequence[str]) -> bool:
        """Whether all the parts that it was learned with are present."""
        return set(present) == set(self.parts)


HAND_SET = TaskFusion(parts=["llm", "neural"], others={"llm": 0.75, "neural": 0.25})
"""Where nothing was learned. The model learns from corrections within minutes, the head much later."""
_DOUBTED = TaskFusion(parts=["llm", "neural"], others={"llm": 0.4, "neural": 0.6})
NEW_NAMES = TaskFusion(parts=["llm", "neural"], others={"llm": 0.05, "neural": 0.95})
"""Of labels that a small language model was never taught, beside an encoder that goes by their names (docs/model.md)."""
TAUGHT_NAMES = TaskFusion(parts=["llm", "neural"], others={"llm": 0.5, "neural": 0.5})
"""The same once it has learned from corrections of them."""
BESIDE_OWN_HEAD = TaskFusion(parts=["llm", "neural"], others={"llm": 0.25, "neural": 0.75})
"""The same beside a head that was trained on them: of the same 60 corrections of a new convention it learns more (docs/model.md)."""


def hand_set(task: str) -> TaskFusion:
    """The weights of a task for which nothing was learned: less for the model where the bundled one is the weaker before any correction (docs/model.md)."""
    return _DOUBTED if task in ("sentiment", "urgency") else HAND_SET


class FusionFile(BaseModel):
    """The learned parameters of one collection. `digest` is that of all the rest: a file that was edited by hand is refused.
    `learned_with`: part -> digest of the adapter or head whose answers they were learned from; `base` -> the id of the language model.
    `until_taught`: not for a language model that has since been taught corrections of the collection: what it deserved before says little of it then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str = ""
    collection: str
    learned_with: dict[str, str] = {}
    until_taught: bool = False
    tasks: dict[str, TaskFusion]

    def signed(self) -> "FusionFile":
        return self.model_copy(update={"digest": self._of_content()})

    def _of_content(self) -> str:
        later = None if self.until_taught else {"until_taught"}  # files of before it was there keep their digest
        return digest_of(self.model_copy(update={"digest": ""}).model_dump_json(exclude=later))

    @classmethod
    def parse(cls, name: str, data: bytes) -> "FusionFile":
        """Raises ConfigError naming the file and what is wrong."""
        try:
            found = cls.model_validate_json(data)
        except ValidationError as error:
            raise ConfigError(f"{name}: {one_line(error)}") from error
        if found.digest != found._of_content():
            raise ConfigError(f"{name}: it is damaged or was edited by hand: make it anew with services.trainer.runs.fit_fusion")
        return found


def pool(labels: Sequence[str], voices: Voices, fusion: TaskFusion = HAND_SET, *, multi: bool = False) -> dict[str, float]:
    """Probability of each label that a part can answer with; they add up to 1 unless `multi`. `voices` holds one part at least."""
    present = [part for part in voices if voices[part]]
    whole = fusion.whole(present)
    known = [label for label in labels if any(label in voices[part] for part in present)]
    if multi:
        odds = {part: {label: _logit(p) / fusion.temperatures.get(part, 1.0) for label, p in voices[part].items()} for part in present}
        chances = {}
        for label in known:
            speaking = [part for part in present if label in odds[part]]
            score = sum(weight * odds[part][label] for part, weight in fusion.weighed(speaking, label).items())
            chances[label] = _sigmoid(score + (fusion.bias.get(label, 0.0) if fusion.whole(speaking) else 0.0))
        return chances
    if len(present) == 1 and not whole:  # nothing to weigh: what its temperature makes of it
        part, temperature = present[0], fusion.temperatures.get(present[0], 1.0)
        return _softmax({label: math.log(max(voices[part][label], LEAST)) / temperature for label in known})
    logs = {part: log_probabilities(voices[part], fusion.temperatures.get(part, 1.0)) for part in present}
    floor = math.log(1 / len(labels))
    scores = {}
    for label in known:
        scores[label] = fusion.bias.get(label, 0.0) if whole else 0.0
        for part, weight in fusion.weighed(present, label).items():
            scores[label] += weight * logs[part].get(label, floor)
    return _softmax(scores)


def spread(labels: Sequence[str], given: Mapping[str, float]) -> dict[str, float]:
    """A probability of each label, where some are given: what these leave over, evenly for the others. For a part that may name one label alone."""
    silent = [label for label in labels if label not in given]
    rest = max(0.0, 1 - sum(p for label, p in given.items() if label in labels)) / len(silent) if silent else 0.0
    return {label: given.get(label, rest) for label in labels}


def likeliest(chances: Mapping[str, float]) -> str:
    """The first of the likeliest, in the mapping's order."""
    return max(chances, key=lambda label: chances[label])


def chosen(chances: Mapping[str, float], thresholds: Mapping[str, float]) -> str:
    """The label whose probability is the largest share of its threshold (1 if it has none): a label that would be missed too often has a lower one."""
    return max(chances, key=lambda label: chances[label] / thresholds.get(label, 1.0))


def median(chances: Mapping[str, float]) -> str:
    """The label at which half of the probability is reached, in the mapping's order: of labels in order, the one that errs by the fewest places."""
    below, half = 0.0, sum(chances.values()) / 2
    for label, p in chances.items():
        below += p
        if below >= half:
            return label
    return likeliest(chances)


def log_probabilities(said: Mapping[str, float], temperature: float) -> dict[str, float]:
    """Log of what one part says at a temperature, over the labels that it knows."""
    tempered = _softmax({label: math.log(max(p, LEAST)) / temperature for label, p in said.items()})
    return {label: math.log(max(p, LEAST)) for label, p in tempered.items()}


def _softmax(scores: Mapping[str, float]) -> dict[str, float]:
    top = max(scores.values())
    mass = {label: math.exp(score - top) for label, score in scores.items()}
    total = sum(mass.values())
    return {label: value / total for label, value in mass.items()}


def _logit(p: float) -> float:
    bounded = min(max(p, LEAST), 1 - LEAST)
    return math.log(bounded / (1 - bounded))


def _sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))

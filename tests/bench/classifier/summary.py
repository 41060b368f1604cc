"""What all the figures come to: the hybrid against its best part, set by set, and what was to be reached against what was."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.classifier.messages import STATEMENTS, WANTED_ALARMS, WANTED_RECALL, WANTED_RIGHT, Message, Way, is_right
from tests.bench.classifier.rows import HEADS, ONE_HEAD, WHOLE, Found
from tests.bench.classifier.scores import accuracy, calibration_error, error_by_chance, false_alarms, macro_f1, verdict
from tests.bench.classifier.screen import in_danger
from tests.bench.model.tables import Cell, Section

ECE = 0.03
EQUAL_RECALL = 0.9  # at which the false alarms of two ways are compared
# set -> (figure, wanted in per cent)
WANTED = {"ag_news": ("accuracy", 92.0), "reuters_r8": ("accuracy", 97.0), "tweeteval_emotion": ("macro-F1", 78.0), "dreaddit": ("macro-F1", 82.0)}
SHORT_PER_S, PER_S = 4000.0, 500.0  # texts a second: tweets through the logistic head in batches; anything without the language model


@dataclass(frozen=True)
class Measured:
    """All that there is to sum up; what was not measured is empty."""

    sets: Sequence[Found]
    messages: Sequence[Message]
    ways: Sequence[Way]


def of_sets(found: Sequence[Found]) -> Section:
    """One line a set."""
    rows: list[tuple[Cell, ...]] = []
    for one in found:
        gold = one.split.gold(one.split.test)

        def f1(name: str, one: Found = one, gold: object = gold) -> Cell:
            row = one.row(name)
            return macro_f1(gold, row.answers.said) if row else "–"  # type: ignore[arg-type]

        whole = one.row(WHOLE)
        assert whole
        rows.append((one.split.name, len(one.split.train), len(gold), one.split.removed, f1("majority"), f1("TF-IDF + linear SVM"), f1("encoder + kNN"),
                     one.best, f1(one.best), f1(WHOLE), verdict(one.lead), calibration_error(gold, whole.answers, one.split.multi),
                     f"{error_by_chance(gold, whole.answers, one.split.multi):.2f}"))  # fmt: skip
    columns = ("set", "learnt from", "tested on", "near-duplicates out", "majority", "TF-IDF + SVM", "kNN", "best part", "its macro-F1", "hybrid",
               "hybrid against it", "ECE of the hybrid", "of it by chance")  # fmt: skip
    about = (
        "Macro-F1 in per cent with its 95 % bootstrap interval. The best part is chosen by hindsight, on the test texts themselves, which flatters it; the "
        "difference is paired, in points, and `even` where its interval holds 0. By chance: the ECE that so few texts would show if every stated probability "
        "were honest. Near-duplicates of test texts, and of one another, were left out."
    )
    return Section("Sets: the hybrid against its best part", columns, rows, about)


def targets(measured: Measured) -> Section:
    """What was to be reached, and what was: losses too."""
    rows = [*_of_sets(measured.sets), *_of_messages(measured.messages, measured.ways)]
    about = "Wanted by the project's own issue. NO is a target that was missed; nothing is left out because it was missed."
    return Section("Targets", ("target", "wanted", "found", "met"), rows, about)


def _line(name: str, wanted: str, found: str, met: bool) -> tuple[Cell, ...]:
    return name, wanted, found, "yes" if met else "NO"


def _of_sets(found: Sequence[Found]) -> list[tuple[Cell, ...]]:
    rows = []
    for one in found:
        gold, whole = one.split.gold(one.split.test), one.row(WHOLE)
        if one.split.name in WANTED and whole:
            figure, wanted = WANTED[one.split.name]
            value = (accuracy if figure == "accuracy" else macro_f1)(gold, whole.answers.said)
            rows.append(_line(f"{one.split.name}, {figure}", f"{wanted:.0f} %", value.text(), value.value >= wanted))
    if found:
        as_good = [one for one in found if one.lead.value >= 0]
        ahead = [one for one in found if one.lead.low is not None and one.lead.low > 0]
        better = [one for one in found if one.lead.value > 0]
        names = ", ".join(one.split.name for one in found if one.lead.value < 0)
        rows.append(_line("hybrid at least as good as its best part, macro-F1", "every set",
                          f"{len(as_good)} of {len(found)}{'; not on ' + names if names else ''}", len(as_good) == len(found)))  # fmt: skip
        rows.append(_line("hybrid better than its best part", "most sets", f"{len(better)} of {len(found)}, {len(ahead)} of them beyond chance",
                          len(better) > len(found) / 2))  # fmt: skip
        wholes = [(one.split, row.answers) for one in found if (row := one.row(WHOLE))]
        errors = {split.name: calibration_error(split.gold(split.test), answers, split.multi).value for split, answers in wholes}
        beyond = {split.name: errors[split.name] - error_by_chance(split.gold(split.test), answers, split.multi) for split, answers in wholes}
        fine = [name for name, value in errors.items() if value <= ECE]
        worst = max(errors, key=lambda name: errors[name])
        rows.append(_line("calibration error (ECE) of the hybrid", f"{ECE} on every set",
                          f"{len(fine)} of {len(errors)} sets; worst {errors[worst]:.3f} ({worst})", len(fine) == len(errors)))  # fmt: skip
        honest, most = [name for name, value in beyond.items() if value <= ECE], max(beyond, key=lambda name: beyond[name])
        rows.append(_line("… beyond what chance alone makes of so few texts", f"{ECE} on every set",
                          f"{len(honest)} of {len(beyond)} sets; worst {beyond[most]:.3f} ({most})", len(honest) == len(beyond)))  # fmt: skip
        rows += _speeds(found)
    return rows


def _speeds(found: Sequence[Found]) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    tweets = [row.spent.batched_per_s for one in found if one.split.name.startswith("tweeteval") and (row := one.row("head: logistic"))]
    if rates := [rate for rate in tweets if rate]:
        rows.append(_line("tweets/s, logistic head, in batches", f"{SHORT_PER_S:,.0f}", f"{max(rates):,.0f}", max(rates) >= SHORT_PER_S))
    news = [rate for one in found if one.split.name == "ag_news" and (row := one.row("head: logistic")) and (rate := row.spent.batched_per_s)]
    if news:
        rows.append(_line("news teasers/s without the language model, in batches", f"{PER_S:,.0f}", f"{news[0]:,.0f}", news[0] >= PER_S))
    return rows


def _of_messages(found: Sequence[Message], ways: Sequence[Way]) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    hard = [n for n, one in enumerate(found) if one.group == "hard"]
    for way in (way for way in ways if way.name in ("every part on", "language model away")):
        right = [is_right(one, way.labels(n)) for n, one in enumerate(found)]
        five = sum(right[n] for n, one in enumerate(found) if one.group == "statements")
        others = [right[n] for n, one in enumerate(found) if one.group in STATEMENTS]
        share = 100 * sum(others) / len(others)
        rows.append(_line(f"five statements, {way.name}", "5 of 5", f"{five} of 5", five == 5))
        rows.append(_line(f"paraphrases right, {way.name}", f"{WANTED_RIGHT:.0f} %", f"{share:.1f} %", share >= WANTED_RIGHT))
        said = [in_danger(way.labels(n)) for n in hard]
        risky = [found[n].risky for n in hard]
        recall = 100 * sum(one and true for one, true in zip(said, risky, strict=True)) / sum(risky)
        alarms = 100 * sum(one and not true for one, true in zip(said, risky, strict=True)) / (len(risky) - sum(risky))
        rows.append(_line(f"hard texts, recall of danger, {way.name}", f"{WANTED_RECALL:.0f} %", f"{recall:.1f} %", recall >= WANTED_RECALL))
        rows.append(_line(f"hard texts, false alarms, {way.name}", f"at most {WANTED_ALARMS:.0f} %", f"{alarms:.1f} %", alarms <= WANTED_ALARMS))
    return rows + _against_heads(found, ways)


def _against_heads(found: Sequence[Message], ways: Sequence[Way]) -> list[tuple[Cell, ...]]:
    """The fullest way against the head alone, at one recall."""
    import numpy as np

    places = [n for n, one in enumerate(found) if one.group == "hard"]
    alone = next((way for way in ways if way.name == "head alone"), None)
    if not alone or not places:
        return []
    risky = np.array([found[n].risky for n in places])
    of_all, of_head = (100 * false_alarms(way.scores[places], risky, EQUAL_RECALL) for way in (ways[0], alone))
    return [_line(f"hard texts, false alarms at {EQUAL_RECALL:.0%} recall, {ways[0].name}", "at most half of the head alone",
                  f"{of_all:.1f} % against {of_head:.1f} %", of_all <= of_head / 2)]  # fmt: skip


def about_rows() -> str:
    """What the rows of the long table are."""
    return (
        "Each part and each baseline is at its best: temperature, bias and, where several labels hold, thresholds are learned for it alone on the held-out "
        f"texts. `{HEADS}`: all kinds of head together. `{ONE_HEAD}`: the head that did best on the held-out texts, with the language model where it was asked "
        f"and, where a label means risk, the rules, whose word is weighed as a part’s: what a service runs. `{WHOLE}`: the same with all heads. Fixed recall is for sdcnl alone: posts of a forum on "
        "suicide against one on depression, which is no clean line. Processor seconds and texts a second are of the answering, not of the training; what else "
        "ran on the machine slows the clock, and hardly the processor."
    )

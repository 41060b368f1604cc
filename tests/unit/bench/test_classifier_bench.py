"""The classifier's bench around its arithmetic: splits, the rows of a set, the messages, noise, the language model's answers, the page."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from services.classifier import pooled as in_service
from services.classifier.decide import Neural
from services.classifier.said import Said
from shared.errors import PermanentError
from shared.events import Decision, LabelScore
from shared.taxonomy import Task, label_set
from tests.bench.classifier import __main__ as command
from tests.bench.classifier import costs, llm, messages, noise, parts, plots, robust, rows, run, screen, sets, speed, summary
from tests.bench.classifier.scores import Answers, macro_f1
from tests.bench.classifier.sets import Item, Source, Split
from tests.bench.model.tables import shown

WORDS = {"a": "goal match team league striker coach referee penalty", "b": "shares profit bank quarter market merger dividend yield"}


def text_of(label: str, n: int) -> str:
    dice = random.Random(f"{label} {n}")
    return " ".join(dice.choice(WORDS[label].split()) for _ in range(6)) + f" item{n} " + " ".join(f"w{dice.randrange(9999)}" for _ in range(8))


def write(folder: Path, part: str, many: int, start: int = 0) -> list[dict]:
    found = [{"id": f"{part}-{n}", "text": text_of("ab"[n % 2], start + n), "label": "ab"[n % 2]} for n in range(many)]
    folder.mkdir(exist_ok=True)
    (folder / f"{part}.jsonl").write_text("\n".join(map(json.dumps, found)))
    return found


def made_split(many: int = 60) -> Split:
    task = Task.model_validate({"name": "topic", "meaning": "", "labels": {"a": "", "b": ""}})
    items = [Item(str(n), text_of("ab"[n % 2], n), frozenset("ab"[n % 2])) for n in range(3 * many)]
    return Split(Source("made", "topic"), task, items[:many], items[many : 2 * many], items[2 * many :])


def test_a_set_with_a_part_to_test_on_keeps_it_and_trains_on_nothing_like_it(tmp_path: Path) -> None:
    train = write(tmp_path / "made", "train", 300)
    test = write(tmp_path / "made", "val", 60, start=1000)
    copied = [{**row, "id": f"copy-{n}", "text": row["text"].upper() + " !"} for n, row in enumerate(test[:20])]
    (tmp_path / "made" / "train.jsonl").write_text("\n".join(map(json.dumps, [*train, *copied])))
    found = sets.split(tmp_path, Source("made", "topic"), 1.0)
    assert {item.name for item in found.test} == {row["id"] for row in test}
    assert not any(item.name.startswith("copy") for item in (*found.train, *found.held)) and found.removed == 20
    assert not {item.name for item in found.train} & {item.name for item in found.held}
    assert found == sets.split(tmp_path, Source("made", "topic"), 1.0), "the choice is fixed"
    assert found.gold(found.test).sum(axis=1).tolist() == [1] * 60


def test_a_set_of_one_part_is_dealt_out_by_the_names_of_its_rows(tmp_path: Path) -> None:
    write(tmp_path / "made", "train", 400)
    found = sets.split(tmp_path, Source("made", "topic"), 0.1)
    names = [item.name for part in (found.train, found.held, found.test) for item in part]
    assert len(names) == len(set(names)) and len(found.test) >= 40
    larger = sets.split(tmp_path, Source("made", "topic"), 1.0)
    assert {item.name for item in found.test} <= {item.name for item in larger.test}
    assert not {item.name for item in found.train} & {item.name for item in larger.test}, "a text is tested on or not, at every size"
    with pytest.raises(ValueError, match="too few"):
        write(tmp_path / "small", "train", 30)
        sets.split(tmp_path, Source("small", "topic"), 1.0)
    assert [source.folder for source in sets.there(tmp_path)] == []


def test_pooling_two_parts_that_err_apart_beats_both_and_each_alone_is_itself() -> None:
    split, dice = made_split(200), np.random.default_rng(1)

    def voices(items: Sequence[Item], blind: int) -> list[dict[str, float]]:
        found = []
        for n, item in enumerate(items):
            right = 0.5 if n % 2 == blind else 0.9  # each part knows nothing of every other text
            p = np.clip(right + dice.normal(0, 0.04), 0.02, 0.98)
            found.append({"a": p, "b": 1 - p} if "a" in item.gold else {"a": 1 - p, "b": p})
        return found

    dealt = [Item(item.name, item.text, frozenset("ab"[(n // 2) % 2])) for n, item in enumerate(split.test)]
    split = Split(split.source, split.task, split.train, dealt, dealt)
    gold = split.gold(dealt)
    said = {"one": voices(dealt, 0), "other": voices(dealt, 1)}
    fusion = parts.learned(split.task, said, gold)
    both = macro_f1(gold, parts.pooled(split.task, said, fusion).said).value
    alone = [macro_f1(gold, parts.pooled(split.task, {name: said[name]}, None).said).value for name in said]
    assert both > max(alone) + 5
    assert parts.columns(np.array([[0.3, 0.7]]), ["b", "a"], ["a", "b", "c"]).tolist() == [[0.7, 0.3, 0.0]]
    assert parts.voiced(["a", "b"], np.array([[0.0, 1.0]])) == [{"b": 1.0}], "what was never taught has no voice"


@pytest.mark.parametrize("kind", ["single", "multi", "ordinal"])
def test_the_bench_pools_as_the_classifier_does(kind: str) -> None:
    dice, labels = np.random.default_rng(8), ["a", "b", "c"]
    task = Task.model_validate({"name": "topic", "meaning": "", "labels": dict.fromkeys(labels, ""), "kind": kind})
    gold = dice.random((120, 3)) < 0.4 if kind == "multi" else np.eye(3, dtype=np.bool_)[dice.integers(0, 3, 120)]
    gold[:, 0] |= ~gold.any(axis=1)
    said = {
        part: parts.voiced(labels, dice.dirichlet(np.ones(3), 120) * 0.5 + 0.5 * gold / gold.sum(axis=1, keepdims=True)) for part in ("llm", "neural")
    }
    fusion = parts.learned(task, said, gold)
    for heard in (["llm", "neural"], ["neural"]):
        ours = parts.pooled(task, {part: said[part] for part in heard}, fusion)
        for n in range(120):
            voices = {part: dict(said[part][n]) for part in heard}
            score = LabelScore(label="a", probability=0.5, probabilities=voices["llm"]) if "llm" in voices else None
            theirs = in_service.pooled(task, Said([], None, score, voices["neural"], voices), in_service.Calibration(fusion))
            assert [label for label, holds in zip(labels, ours.said[n], strict=True) if holds] == [
                label for label in labels if label in theirs.labels
            ]
            assert theirs.chances == pytest.approx(dict(zip(labels, ours.chances[n], strict=True)))


def test_the_rules_alone_say_danger_or_the_commonest_other_and_beside_the_rest_what_their_danger_is_worth() -> None:
    task = Task.model_validate({"name": "forum", "meaning": "", "labels": {"depression": "", "suicidewatch": ""}})
    items = [Item(str(n), "text", frozenset({"depression"})) for n in range(3)]
    split = Split(Source("sdcnl", "forum", risk="suicidewatch"), task, items, items, items)
    found = rows.ruled(split, [False, True, False])
    assert found.said.tolist() == [[True, False], [False, True], [True, False]] and found.chances[1].tolist() == [0, 1]
    voice = rows.hinting(split, [False, True])
    assert voice[0] == {"depression": 0.5, "suicidewatch": 0.5} and voice[1] == pytest.approx({"depression": 0.1, "suicidewatch": 0.9})

    dice = np.random.default_rng(4)
    gold = np.eye(2, dtype=np.bool_)[dice.integers(0, 2, 400)]
    flags = dice.random(400) < 0.5  # rules that see danger in every second text, whatever it is
    head = parts.voiced(["depression", "suicidewatch"], np.where(gold, 0.75, 0.25))
    both = {"head": head, rows.RULES: rows.hinting(split, list(flags))}
    fusion = parts.learned(task, both, gold)
    assert (parts.pooled(task, both, fusion).said == gold).mean() > 0.99, "what is worth nothing is learned to be worth nothing"


def test_one_after_the_other_takes_the_time_of_all() -> None:
    found = costs.Spent.sum([costs.Spent(100.0, 2.0, 400.0), costs.Spent(100.0, 3.0)])
    assert found.texts_per_s == pytest.approx(50) and found.cpu_s == 5 and found.batched_per_s == pytest.approx(80)
    unknown = costs.Spent.sum([costs.Spent(100.0, 2.0), costs.Spent(None, None, 30.0)])
    assert unknown.texts_per_s is None and unknown.cpu_s is None
    spent = costs.took(lambda: sum(range(200_000)), 10)
    assert spent.texts_per_s and spent.cpu_s and spent.cpu_s > 0


class Fixed:
    """A head that says the same of every text."""

    def score(self, items: Sequence[tuple[str, str]], collection: str) -> list[Neural]:
        scores = {"emotion": {"neutral": 0.8, "self_harm_high": 0.2}, "risk": {"none": 0.7, "low": 0.1, "high": 0.2}}
        return [Neural(scores, "fixed") for _ in items]


def test_each_way_has_the_parts_that_its_name_says_and_danger_is_seen_by_the_rule() -> None:
    found = messages.messages(0.02)
    assert [one.group for one in found[:5]] == ["statements"] * 5 and {one.group for one in found} == {
        "statements",
        "hard",
        "fresh",
        "blind",
        *messages.STATEMENTS,
    }
    certain = {task: LabelScore(label=label, probability=1.0) for task, label in (("emotion", "positive"), ("risk", "none"))}
    made = {way.name: way for way in messages.ways(found, screen.Remembered(Fixed()), None, [certain] * len(found), lambda line: None)}
    assert next(iter(made)) == "every part on" and len(made) == 7
    place = next(n for n, one in enumerate(found) if one.text == "I want to kill myself")
    for name in ("every part on", "language model away", "head away", "rules alone"):
        assert made[name].labels(place)["risk"] == "high" and made[name].scores[place] == 1, name
    assert made["rules away"].labels(place)["emotion"] == "positive"
    assert made["head alone"].labels(place)["emotion"] == "neutral" and made["head alone"].scores[place] == pytest.approx(0.2)
    without = messages.ways(found, Fixed(), None, None, lambda line: None)
    assert [way.name for way in without] == ["language model away", "rules alone", "head alone"]
    listed = messages.misses(found, without)
    assert all(set(one["wrong"]) <= {way.name for way in without} for one in listed) and any(one["place"] == "I will marry her" for one in listed)


def test_the_speed_of_a_verdict_is_told_for_rules_and_head_together_and_apart() -> None:
    table = speed.measured(["I went to the store"] * 5, Fixed())
    assert [row[0] for row in table.rows] == ["rules and head", "rules alone", "head alone"]
    assert all(float(str(row[2]).split()[0]) <= float(str(row[3]).split()[0]) for row in table.rows) and all(row[1] == 5 for row in table.rows)


def decided(emotion: str, risk: str, by: str = "neural") -> dict[str, Decision]:
    return {task: Decision.model_validate({"label": label, "probability": 0.9, "by": by, "reasons": [], "probabilities": {label: 0.9}})
            for task, label in (("emotion", emotion), ("risk", risk))}  # fmt: skip


def test_the_tables_of_the_messages_count_what_was_right_missed_and_called_danger() -> None:
    gold = {"emotion": "self_harm_high", "risk": "high", "sentiment": "negative", "stress": "high"}
    calm = {"emotion": "neutral", "risk": "none", "sentiment": "neutral", "stress": "none"}
    found = [messages.Message(text, {"emotion": emotion, "risk": risk}, "statement", "statements", text)
             for text, (emotion, risk) in messages.STATEMENTS.items()]  # fmt: skip
    found += [
        messages.Message("x", {"emotion": emotion, "risk": risk}, "paraphrase", text, "x") for text, (emotion, risk) in messages.STATEMENTS.items()
    ]
    found += [messages.Message("x", gold, "direct", "hard", "x")] * 4 + [messages.Message("y", calm, "idiom", "hard", "y")] * 4
    said = [decided(one.gold["emotion"], one.gold["risk"]) for one in found]
    perfect = messages.Way("language model away", said)
    flawed = messages.Way("head alone", [*said[:10], decided("neutral", "none"), *said[11:17], decided("self_harm_low", "low")])
    first, second = messages.statements(found, [perfect, flawed]).rows
    assert first[1] == "5 of 5" and first[-1] == "yes" and second[-1] == "yes"
    first, second = messages.hard(found, [perfect, flawed]).rows
    assert [shown(cell) for cell in first[1:3]] == ["100.0 % [100–100]", "0.0 % [0–0]"] and first[-1] == "yes"
    assert second[1].value == 75 and second[2].value == 25 and second[-1] == "NO"  # type: ignore[union-attr]
    kinds = {row[0]: row[1:] for row in messages.by_kind(found, [flawed, perfect]).rows}
    assert kinds["direct"] == (4, 0, 0, "", "4 of 4") and kinds["idiom"] == (0, 4, "", 0, "4 of 4")
    assert [one["wrong"]["head alone"]["sort"] for one in messages.misses(found, [flawed])] == ["missed", "false alarm"]
    told = {row[0]: row[-1] for row in summary.targets(summary.Measured([], found, [perfect, flawed])).rows}
    assert told["hard texts, recall of danger, language model away"] == "yes" and told["five statements, language model away"] == "yes"


def test_noise_is_the_same_each_time_of_every_sort_and_long_now_and_then() -> None:
    found = list(noise.texts(220))
    assert found == list(noise.texts(220)) and len({sort for sort, _ in found if "100 KB" not in sort}) == 11
    assert max(len(text) for _, text in found) == noise.LONG_CHARS and min(len(text) for _, text in found) <= 1
    assert not any("\ud800" <= char <= "\udfff" for _, text in found for char in text)


def test_what_fails_without_a_name_is_counted_and_makes_the_row_a_no() -> None:
    def decide(text: str) -> dict[str, Decision]:
        if text == "bad":
            raise PermanentError("it is bad")
        if text == "worse":
            raise KeyError("lost")
        return {} if text == "silent" else decided("neutral", "none")

    told = robust.through(decide, [("s", text) for text in ("fine", "bad", "worse", "silent")], 4)
    assert (told.verdicts, told.named.total(), told.unnamed.total(), told.texts) == (1, 1, 2, 4)
    row = robust.of_noise(told).rows[0]
    assert row[-1] == "NO" and "it is bad" in str(row[2]) and "lost" in str(row[3]) and "no decision on risk" in str(row[3])
    assert robust.of_noise(robust.through(decide, [("s", "fine")], 1)).rows[0][-1] == "yes"


def test_every_broken_part_leaves_a_verdict(tmp_path: Path) -> None:
    encoder = SimpleNamespace(folder=tmp_path, threads=1, digest="none")
    table = robust.broken(Fixed(), encoder, tmp_path / "work")  # type: ignore[arg-type]
    assert len(table.rows) == 11 and {row[-1] for row in table.rows} == {"yes"}
    reported = {row[0]: str(row[3]) for row in table.rows}
    assert "zz-broken.yaml" in reported["a rule file broken while it runs"] and "no head" in reported["no head in its folder"]
    assert "wellbeing.json" in reported["a file of learned weights that is none"]


async def test_the_language_model_is_asked_each_text_and_its_silence_is_counted() -> None:
    asked: list[str] = []

    class Enricher:
        async def label(self, task: Task, title: str, text: str, name: str) -> LabelScore:
            asked.append(name)
            if "item7 " in text:
                raise PermanentError("the engine answered 'banana'")
            label = "a" if "goal" in text else "b"
            return LabelScore(label=label, probability=0.8)

    split = made_split(20)
    asker = llm.Asker(None, "base", Path(), Enricher())  # type: ignore[arg-type]
    heard = await asker.heard(split)
    assert len(heard.held) == len(heard.test) == 20 and len(asked) == 40 and heard.spent.batched_per_s
    assert all(sum(voice.values()) == pytest.approx(1) and set(voice) == {"a", "b"} for voice in (*heard.held, *heard.test))
    silent = await llm.Asker(None, "base", Path(), Enricher()).heard(Split(split.source, split.task, [], split.train, split.train))  # type: ignore[arg-type]
    assert silent.test[7] == {"a": 0.5, "b": 0.5}
    told = await asker.messages(["x", "item7 "])
    assert (set(told[0]) == set() and told[1] == {} and asker.silent["messages"] > 0) or set(told[0])


def test_corrections_for_an_adapter_come_label_by_label_and_test_texts_are_not_among_them() -> None:
    split = made_split(40)
    chosen = llm.in_turn(split.train, 10)
    assert sorted(next(iter(item.gold)) for item in chosen) == ["a"] * 5 + ["b"] * 5 and chosen == llm.in_turn(split.train, 10)
    convention = llm.as_convention(split, 10)
    assert set(convention.labels().tasks["topic"].labels) == {"a", "b"} and {"sentiment", "urgency"} <= set(convention.labels().tasks)
    shown_to_it = {item.text for item in (*convention.items, *convention.held_out)}
    assert len(convention.items) == 10 and not shown_to_it & {item.text for item in split.test}


def test_the_authored_labels_are_what_counts_as_danger() -> None:
    assert screen.in_danger({"risk": "high"}) and screen.in_danger({"emotion": "self_harm_low", "risk": "low"})
    assert not screen.in_danger({"risk": "low", "emotion": "stress"}) and not screen.in_danger({})
    assert screen.danger(decided("neutral", "high", "rule")) == 1.0 and screen.danger(decided("self_harm_high", "none")) == pytest.approx(0.9)
    assert set(screen.SELF_HARM) == set(label_set("wellbeing").tasks["emotion"].safety_labels)


def test_the_plots_are_small_and_drawn_from_what_was_measured(tmp_path: Path) -> None:
    split = made_split(40)
    gold = split.gold(split.test)
    answers = Answers(gold, np.where(gold, 0.8, 0.2))
    found = rows.Found(split, [rows.Row("head: logistic", rows.PART, answers, costs.Spent()), rows.Row(rows.WHOLE, rows.WHOLE, answers, costs.Spent())],
                       "head: logistic", macro_f1(gold, gold))  # fmt: skip
    texts = [messages.Message("x", {"emotion": "self_harm_high", "risk": "high"}, "direct", "hard", "x")] * 3
    texts += [messages.Message("y", {"emotion": "neutral", "risk": "none"}, "idiom", "hard", "y")] * 3
    way = messages.Way("language model away", [decided(one.gold["emotion"], one.gold["risk"]) for one in texts])
    plots.draw_reliability([found], tmp_path / "a.png")
    plots.draw_precision_recall(texts, [way], tmp_path / "b.png")
    plots.draw_confusion(texts, way, tmp_path / "c.png")
    assert all(2_000 < (tmp_path / f"{name}.png").stat().st_size < plots.MOST_BYTES for name in "abc")
    row = summary.of_sets([found]).rows[0]
    assert row[0] == "made" and row[7] == "head: logistic"


def test_a_head_that_begins_with_another_is_a_row_beside_the_fine_tuned_one_and_only_where_that_is_asked_for() -> None:
    begun = parts.Start("wellbeing", "d" * 64, {})
    kinds = ("logistic", "tuned")
    means = rows.Means(None, kinds, Path(), None, print, ["made"], begun)  # type: ignore[arg-type]
    split = made_split(20)
    assert means.kinds_for(split) == ["logistic", "tuned", "tuned, from wellbeing"] and parts.plain("tuned, from wellbeing") == "tuned"
    assert parts.reads_of("tuned, from wellbeing") == parts.reads_of("tuned") == "embedded"
    elsewhere = rows.Means(None, kinds, Path(), None, print, ["other"], begun)  # type: ignore[arg-type]
    assert elsewhere.kinds_for(split) == ["logistic"] and parts.begun(None, None) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--only", "nothing"], "no nothing"),
        (["--size", "0"], "--size"),
        (["--adapter", "20"], "needs --llm"),
        (["--sets", "mine"], "no mine"),
        (["--start", "x"], "--tuned"),
    ],
)
def test_a_wrong_option_is_named(words: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.options(words)
    assert what in capsys.readouterr().err


def test_the_page_has_the_marks_that_the_figures_go_between() -> None:
    page = command.PAGE.read_text(encoding="utf-8")
    assert page.count(f"<!-- {command.MARKS} -->") == 1 and page.count(f"<!-- /{command.MARKS} -->") == 1
    assert all(f"({name})" in page for name in run.PLOTS) and "no diagnosis" in page

"""The arithmetic of the classifier's bench: calibration error, F1, false alarms at a recall, intervals, near-duplicates."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from services.trainer.runs import pool_figures
from tests.bench.classifier.duplicates import Known, distinct
from tests.bench.classifier.plots import confusion, reliability
from tests.bench.classifier.scores import (
    Answers,
    accuracy,
    alarms_at,
    calibration_error,
    draws,
    error_by_chance,
    f1_difference,
    false_alarms,
    macro_f1,
    stated,
    threshold_at,
    verdict,
)
from tests.bench.model.figures import Figure


def one_hot(places: np.ndarray, labels: int) -> np.ndarray:
    return np.eye(labels, dtype=np.bool_)[places]


def drawn(n: int, labels: int, seed: int = 3) -> tuple[np.ndarray, Answers]:
    """Truths drawn from the probabilities that are stated: calibrated by construction."""
    random = np.random.default_rng(seed)
    chances = random.dirichlet(np.full(labels, 0.6), size=n)
    gold = np.array([random.choice(labels, p=row) for row in chances])
    return one_hot(gold, labels), Answers(one_hot(chances.argmax(axis=1), labels), chances)


def test_what_is_calibrated_has_nearly_no_calibration_error_and_what_boasts_has_what_it_boasts_by() -> None:
    gold, answers = drawn(20_000, 4)
    figure = calibration_error(gold, answers, multi=False)
    assert figure.value < 0.01 and figure.low is not None and figure.high is not None and figure.low <= figure.value <= figure.high
    boast = Answers(answers.said, np.where(answers.said, 1.0, 0.0))
    right = (gold & answers.said).any(axis=1).mean()
    assert calibration_error(gold, boast, multi=False).value == pytest.approx(1 - right)


@pytest.mark.parametrize("multi", [False, True])
def test_the_calibration_error_is_the_one_that_the_fitting_reports(multi: bool) -> None:
    gold, answers = drawn(300, 3)
    pairs = [(float(p), bool(true)) for ps, trues in zip(*stated(gold, answers, multi), strict=True) for p, true in zip(ps, trues, strict=True)]
    assert len(pairs) == (900 if multi else 300)
    assert calibration_error(gold, answers, multi).value == pytest.approx(pool_figures.ece(pairs))


def test_a_text_of_which_nothing_was_said_counts_by_its_likeliest_label() -> None:
    answers = Answers(np.array([[False, False]]), np.array([[0.3, 0.4]]))
    p, true = stated(np.array([[False, True]]), answers, multi=False)
    assert p.tolist() == [[0.4]] and true.tolist() == [[1.0]]


def test_answers_that_are_no_probabilities_are_refused() -> None:
    flags = np.array([[True, False]])
    for wrong in ([[1.2, 0.0]], [[-0.1, 0.5]], [[np.nan, 0.5]]):
        with pytest.raises(ValueError, match="not between 0 and 1"):
            Answers(flags, np.array(wrong))
    with pytest.raises(ValueError, match="labels that hold"):
        Answers(flags, np.array([[1.0]]))


@pytest.mark.parametrize("several", [False, True])
def test_macro_f1_is_that_of_scikit_learn_over_the_labels_that_are_true_of_some_text(several: bool) -> None:
    random = np.random.default_rng(1)
    gold, said = (random.random((200, 5)) < 0.3 if several else one_hot(random.integers(0, 5, 200), 5) for _ in range(2))
    figure = macro_f1(gold, said)
    assert figure.value == pytest.approx(100 * f1_score(gold, said, average="macro", zero_division=0))
    assert figure.low is not None and figure.high is not None and figure.low < figure.value < figure.high
    gold[:, 4] = False  # nothing has the label: it is not among those that the mean is over
    assert macro_f1(gold, said).value == pytest.approx(100 * f1_score(gold, said, average="macro", labels=[0, 1, 2, 3], zero_division=0))


def test_accuracy_wants_all_labels_of_a_text_and_no_other() -> None:
    gold = np.array([[True, True], [True, False], [False, True], [True, False]])
    said = np.array([[True, False], [True, False], [False, True], [True, True]])
    assert accuracy(gold, said).value == 50.0


def test_the_draws_are_the_same_for_all_and_draw_as_many_as_there_are() -> None:
    assert np.array_equal(draws(50), draws(50)) and (draws(50).sum(axis=1) == 50).all()
    with pytest.raises(ValueError, match="at least one"):
        draws(0)


def test_a_paired_difference_sees_what_two_intervals_would_not() -> None:
    random = np.random.default_rng(5)
    gold = one_hot(random.integers(0, 2, 400), 2)
    worse = gold ^ (random.random(400) < 0.30)[:, None]  # 30 in 100 turned round
    better = worse.copy()
    better[:30] = gold[:30]  # the same answers, some of them mended
    lead = f1_difference(gold, better, worse)
    assert lead.value > 0 and lead.low is not None and lead.low > 0 and verdict(lead).startswith("ahead (+")
    first, second = macro_f1(gold, better), macro_f1(gold, worse)
    assert first.low is not None and second.high is not None and first.low < second.high, "apart they overlap"
    assert verdict(f1_difference(gold, worse, better)).startswith("behind (-")
    same = f1_difference(gold, worse, worse)
    assert (same.value, same.low, same.high) == (0, 0, 0) and verdict(same).startswith("even")


def test_false_alarms_at_a_recall_count_ties_against_the_part_that_can_not_tell() -> None:
    risky = np.array([True] * 10 + [False] * 10)
    scores = np.array([0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.1, 0.6, 0.5, 0.4, 0.3, 0.2, 0.2, 0.1, 0.1, 0.1, 0.05])
    assert threshold_at(scores, risky, 0.9) == 0.55 and false_alarms(scores, risky, 0.9) == pytest.approx(0.1)
    assert threshold_at(scores, risky, 1.0) == 0.1 and false_alarms(scores, risky, 1.0) == pytest.approx(0.9)
    assert threshold_at(scores, risky, 0.01) == 0.95 and false_alarms(scores, risky, 0.01) == 0
    assert false_alarms(np.zeros(20), risky, 0.5) == 1, "one score for all raises every alarm"
    for flags, what in ((np.zeros(3, bool), "no text is risky"), (np.ones(3, bool), "no text is safe")):
        with pytest.raises(ValueError, match=what):
            false_alarms(np.zeros(3), flags, 0.5)


def test_the_recall_that_was_asked_for_is_reached_whatever_the_numbers() -> None:
    random = np.random.default_rng(2)
    for n in (1, 3, 7, 50, 99):
        scores, risky = random.random(2 * n), np.array([True, False] * n)
        for recall in (0.5, 0.9, 0.98, 1.0):
            assert (scores[risky] >= threshold_at(scores, risky, recall)).mean() >= recall - 1e-9


def test_the_interval_of_the_false_alarms_holds_the_value_and_has_a_width() -> None:
    random = np.random.default_rng(4)
    risky = np.array([True] * 80 + [False] * 120)
    scores = np.where(risky, random.normal(1, 1, 200), random.normal(0, 1, 200))
    figure = alarms_at(scores, risky, 0.9)
    assert figure.n == 120 and figure.low is not None and figure.high is not None
    assert figure.low < figure.value < figure.high and figure == alarms_at(scores, risky, 0.9)


def test_a_reliability_curve_leaves_out_bins_that_hold_too_little() -> None:
    chances = np.array([0.1] * 40 + [0.9] * 20 + [0.5] * 2)
    true = np.array([1.0] * 4 + [0.0] * 36 + [1.0] * 18 + [0.0] * 2 + [1.0] * 2)
    curve = reliability(chances, true)
    assert curve.stated == pytest.approx([0.1, 0.9]) and curve.true == pytest.approx([0.1, 0.9]) and curve.counts.tolist() == [40, 20]
    assert confusion(["a", "b", "b"], ["a", "a", "?"], ["a", "b"]).tolist() == [[1, 0], [1, 0]]


POST = "The council voted last night to close the old swimming pool on Mill Street after years of leaks and rising costs, the mayor said."


def test_near_duplicates_are_found_and_other_texts_are_not() -> None:
    known = Known([POST, "ok thanks"])
    assert known.like(POST) and known.like(POST.upper().replace(",", " !"))
    assert known.like(POST.replace("Mill Street", "Hill Road")), "two words of it are others"
    assert known.like(f"From our reporter, here, today. {POST} More on this story soon, with what the swimmers of the town say.")
    assert not known.like("The mayor said that the council will vote on the budget next week, after years of delay and rising debt in the town.")
    assert known.like("OK, thanks!") and not known.like("ok then")
    assert not known.like(""), "nothing was added that is empty"


def test_of_near_duplicates_the_first_stays() -> None:
    texts = [POST, "no way", POST.replace("old ", ""), "No way!", "😀", "😭"]
    assert distinct(texts, Known()) == [0, 1, 4, 5]
    assert distinct(texts, Known(["no way"])) == [0, 4, 5]


def test_a_figure_in_points_reads_without_a_per_cent_sign() -> None:
    assert Figure(1.5, 10, -0.5, 3.0, "points").text() == "1.50 points [-0.50–3.00]"


def test_the_error_by_chance_is_what_honest_probabilities_show_and_falls_with_the_number_of_texts() -> None:
    dice = np.random.default_rng(7)

    def drawn(texts: int) -> tuple[np.ndarray, Answers]:
        chances = dice.uniform(0.5, 1, texts)
        gold = np.eye(2, dtype=np.bool_)[(dice.random(texts) >= chances).astype(int)]  # the first label, as often as is said
        said = np.tile([True, False], (texts, 1))
        return gold, Answers(said, np.stack([chances, 1 - chances], axis=1))

    few, many = drawn(200), drawn(20_000)
    assert calibration_error(*few, multi=False).value == pytest.approx(error_by_chance(*few, multi=False), abs=0.04)
    assert error_by_chance(*few, multi=False) > 0.03 > 0.01 > error_by_chance(*many, multi=False)
    gold, answers = many
    boast = Answers(answers.said, np.clip(answers.chances + np.array([0.2, -0.2]), 0, 1))
    assert calibration_error(gold, boast, multi=False).value - error_by_chance(gold, boast, multi=False) > 0.1

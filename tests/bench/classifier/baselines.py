"""What the parts have to beat: the commonest label, TF-IDF with a linear SVM, and the nearest neighbours of the encoder's vector.

Each gives probabilities, which then are calibrated on the held-out part exactly as the classifier's own parts are (tests.bench.classifier.parts), so that
calibration is compared like with like.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tests.bench.classifier.scores import Flags, Floats

NEIGHBOURS = 15
FEATURES = 50_000  # of TF-IDF: words and pairs of words
Vectors = NDArray[np.float32]
OfTexts = Callable[[Sequence[str]], Floats]
OfVectors = Callable[[Vectors], Floats]


def majority(gold: Flags) -> OfTexts:
    """Every label's share in training, whatever the text."""
    shares = gold.mean(axis=0)
    return lambda texts: np.tile(shares, (len(texts), 1))


def svm(texts: Sequence[str], gold: Flags, multi: bool) -> OfTexts:
    """TF-IDF over words and pairs of words (sublinear), and a linear SVM for each label against the rest (LIBLINEAR; Joachims 1998). Its margins are made
    probabilities by softmax, of several labels by the logistic function."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    counted = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=FEATURES, min_df=2 if len(texts) >= 500 else 1)
    matrix = counted.fit_transform(texts)
    known = [n for n in range(gold.shape[1]) if 0 < gold[:, n].sum() < len(gold)]  # one machine a label; a label without examples is never said
    machines = {n: LinearSVC(C=1.0, random_state=0).fit(matrix, gold[:, n]) for n in known}

    def answer(asked: Sequence[str]) -> Floats:
        rows = counted.transform(asked)
        margins = np.full((len(asked), gold.shape[1]), -10.0)
        for n, machine in machines.items():
            margins[:, n] = machine.decision_function(rows)
        return 1 / (1 + np.exp(-margins)) if multi else softmax(margins)

    return answer


def neighbours(vectors: Vectors, gold: Flags, multi: bool) -> OfVectors:
    """The labels of the nearest training texts by cosine, weighed by likeness, with one vote shared out among all labels."""
    truth, near = gold.astype(np.float64), min(NEIGHBOURS, len(vectors))

    def answer(asked: Vectors) -> Floats:
        likeness = asked.astype(np.float64) @ vectors.astype(np.float64).T
        places = np.argpartition(-likeness, near - 1, axis=1)[:, :near]
        weights = np.maximum(np.take_along_axis(likeness, places, axis=1), 1e-6)
        votes = np.einsum("nk,nkl->nl", weights, truth[places])
        shares = truth.mean(axis=0) if multi else np.full(truth.shape[1], 1 / truth.shape[1])
        return np.asarray((votes + shares) / (weights.sum(axis=1, keepdims=True) + 1))

    return answer


def softmax(margins: Floats) -> Floats:
    """Row by row."""
    mass = np.exp(margins - margins.max(axis=1, keepdims=True))
    return np.asarray(mass / mass.sum(axis=1, keepdims=True))

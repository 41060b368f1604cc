"""A decider over the shipped rules."""

from collections.abc import Callable

import pytest
from classifier_samples import RULES

from services.classifier.decide import Decider
from services.classifier.overlay import Overlay
from services.classifier.rulebook import RuleBook
from shared.events import FeedbackGiven
from shared.taxonomy import label_set


@pytest.fixture
def rulebook() -> RuleBook:
    return RuleBook(RULES, label_set)


@pytest.fixture
def new_decider(rulebook: RuleBook) -> Callable[..., Decider]:
    def make(*events: FeedbackGiven) -> Decider:
        overlay = Overlay()
        for event in events:
            overlay.remember(event)
        return Decider(rulebook, overlay, label_set)

    return make

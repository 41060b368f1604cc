"""Stories: retold is one, another in the same words is another; by its page where the text is too short; bounded. The bench measures the shares."""

import random

import pytest

from services.ingest.stories import Stories, signature
from tests.bench.stories import RETOLD, TEMPLATES, made, merges, recall, sample

STORY = (
    "The harbour of Pellara stays closed until Monday. A storm tore two ships from their moorings on Friday night, the port authority said. "
    "No one was hurt, but the oil terminal lost power for six hours. Divers will look at the breakwater as soon as the wind drops, and the "
    "ministry of transport has promised money for a new one. Fishermen say that they warned of the cracks two years ago."
)
TEA = "The Lake States and Somarra failed to agree on tea, and the old tariffs return on Monday, ministers said after talks that had lasted two days."


def test_the_same_story_has_one_id_and_another_has_its_own() -> None:
    stories = Stories()
    stories.add("first", signature("Storm closes harbour", STORY), "first")
    retold = signature("Storm closes the harbour", STORY.replace("Friday night", "Friday evening") + " More to come.")
    assert stories.story_of("second", retold) == "first"
    stories.add("second", retold, "first")
    assert stories.story_of("third", signature("Storm closes harbour", STORY)) == "first"
    assert stories.story_of("first", signature("Tea", TEA)) == "first", "an edited document stays with its story"
    assert stories.story_of("other", signature("Tea tariffs return", TEA)) == "other"
    assert stories.story_of("short", signature("Read more", "")) == "short"


@pytest.mark.parametrize(("kind", "least"), [*((kind, 0.9) for kind in RETOLD if kind != "all of it"), ("all of it", 0.25)])
def test_retold_is_one_story(kind: str, least: float) -> None:
    found, pairs = recall(sample(), kind)
    assert pairs > 50 and found >= least * pairs, f"{found} of {pairs}"


@pytest.mark.parametrize("kind", TEMPLATES)
def test_other_facts_in_the_same_words_are_another_story(kind: str) -> None:
    merged, texts = merges(made(kind, 100))
    assert merged <= 0.03 * texts, f"{merged} of {texts}"


def test_different_stories_stay_apart() -> None:
    assert merges(sample())[0] == 0


PAGE = "https://e.org/storm"
BLURB = signature("Harbour closed", "Our pick of the day.", PAGE, "letter")


def test_one_page_told_by_two_sources_is_one_story() -> None:
    stories = Stories()
    stories.add("feed", signature("Storm closes harbour", STORY, PAGE, "feed"), "feed")
    assert stories.story_of("letter", BLURB) == "feed"
    assert stories.story_of("same", signature("Short", "", PAGE.replace("https://", "https://www.") + "/", "letter")) == "feed"
    assert stories.story_of("home", signature("Short", "", "https://e.org/", "letter")) == "home"


def test_a_page_that_a_source_names_for_everything_names_nothing() -> None:
    stories = Stories()
    for n, text in enumerate((STORY, TEA)):
        found = signature(f"Change {n}", text, PAGE, "feed")
        assert stories.story_of(str(n), found) == str(n)
        stories.add(str(n), found, str(n))
    assert stories.story_of("letter", BLURB) == "letter"


def test_the_index_is_bounded_and_forgets_the_oldest() -> None:
    stories = Stories(most=50)
    rng = random.Random(1)
    words = [f"word{n}" for n in range(5_000)]
    texts = [" ".join(rng.sample(words, 60)) for _ in range(200)]
    for n, text in enumerate(texts):
        found = signature(f"Title {n}", text, f"https://e.org/{n}", "feed")
        assert stories.story_of(str(n), found) == str(n)
        stories.add(str(n), found, str(n))
    assert len(stories) == 50 and len(stories._pages) <= 50
    assert stories.story_of("again", signature("Title 199", texts[199])) == "199"
    assert stories.story_of("gone", signature("Title 0", texts[0], "https://e.org/0", "letter")) == "gone"

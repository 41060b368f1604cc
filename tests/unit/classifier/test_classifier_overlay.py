import itertools
import random
import sys
import threading

from classifier_samples import TEXT, at, feedback, ingested
from hypothesis import given
from hypothesis import strategies as st

from services.classifier.overlay import SAME, Bare, Overlay, denials, jaccard, probes, tokens
from shared.events import DocumentClassified


def overlay(*events) -> Overlay:
    made = Overlay()
    for event in events:
        made.remember(event)
    return made


def label(view: Overlay, document=None) -> str:
    correction = view.corrections(document or ingested()).get("category")
    return correction.label if correction else ""


def enriched_and_decided(document) -> DocumentClassified:
    return DocumentClassified(**document.model_dump(), decision={}, stage="final", as_of=at(5))


def test_the_newest_stands_in_whatever_order_they_come() -> None:
    events = [feedback("f1", "business", 10), feedback("f2", "security", 20), feedback("f3", minutes=30, retracts="f2"), feedback("f4", "world", 15)]
    for order in itertools.permutations(events):
        view = overlay(*order, order[0])
        assert label(view) == "world"
        assert view.newest(ingested()) == at(30)
        assert len(view) == 3


def test_a_retraction_undoes_even_when_it_comes_first() -> None:
    given, taken_back = feedback("f1", "security", 10), feedback("r1", minutes=20, retracts="f1")
    for order in itertools.permutations([given, taken_back]):
        assert label(overlay(*order)) == ""
        assert overlay(*order).newest(ingested()) == at(20)
    # the same correction given again after it was taken back stands
    assert label(overlay(given, taken_back, feedback("f1", "security", 30))) == "security"


def test_tasks_are_apart() -> None:
    view = overlay(feedback("f1", "security"), feedback("f2", "high", 11, task="urgency"), feedback("r", minutes=12, retracts="f1"))
    assert {task: c.label for task, c in view.corrections(ingested()).items()} == {"urgency": "high"}


def test_near_duplicates_and_the_same_story_follow() -> None:
    view = overlay(feedback("f1", "security", document=None, title="Router maker ships firmware", text=TEXT, story="s1"))
    twin = ingested("doc-2", text=TEXT.replace("Monday", "Tuesday"))
    assert jaccard(tokens(twin.title, twin.text), tokens("Router maker ships firmware", TEXT)) >= SAME
    assert label(view, twin) == "security"
    assert not view.corrections(twin)["category"].of_this
    assert label(view, ingested("doc-3", "Quite another text", "about the same thing", story="s1")) == "security"
    assert label(view, ingested("doc-4", "Choir sings", "A choir sang on the market square.")) == ""
    assert label(view, ingested("doc-5", text=TEXT, collection="messages")) == ""


DENIES = "I don't want to die, honestly, I want to live and see the spring with my sister in the mountains."


def test_the_same_words_that_deny_something_else_are_another_text() -> None:
    view = overlay(feedback("f1", "science", title="Note", text=DENIES, document_id="doc-0"))
    other = DENIES.replace("to die", "to x").replace("to live", "to die").replace("to x", "to live")
    assert tokens("Note", other) == tokens("Note", DENIES) and denials("Note", other) != denials("Note", DENIES)
    assert label(view, ingested("doc-2", "Note", other)) == "" == label(view, ingested("doc-3", "Note", DENIES.replace("don't ", "")))
    assert label(view, ingested("doc-4", "Note", DENIES.replace("spring", "summer"))) == "science"


def test_an_edited_document_is_not_the_one_that_was_judged() -> None:
    judged = enriched_and_decided(ingested(title="Note", text=DENIES))
    view = overlay(feedback("f1", "science", document=judged))
    assert view.corrections(ingested(title="Note", text=DENIES))["category"].of_this
    edited = ingested(title="Note", text="Goodbye. I have the pills here.", version="v2")
    assert label(view, edited) == "" and view.newest(edited) == at(10)  # its verdict must replace the corrected one of before
    mended = ingested(title="Note", text=DENIES.replace("spring", "summer"), version="v2")
    assert label(view, mended) == "science" and not view.corrections(mended)["category"].of_this


def test_a_bare_text_finds_the_corrections_of_its_copies() -> None:
    view = overlay(
        feedback("f1", "security", title="Router maker ships firmware", text=TEXT), feedback("f2", "sport", text="🙂 ✨", document_id="d2")
    )
    copy = view.corrections(Bare("Router maker ships firmware", f"{TEXT}\n", "news"))["category"]
    assert copy.label == "security" and copy.of_this
    assert view.corrections(Bare("", "🙂 ✨", "news"))["category"].label == "sport"
    assert view.corrections(Bare("", "Another text", "news")) == {} == view.corrections(Bare("", TEXT, "wellbeing"))


def test_a_correction_of_the_document_itself_stands_above_a_newer_one_of_a_twin() -> None:
    of_this = feedback("f1", "business", 10, document_id="doc-1")
    of_twin = feedback("f2", "security", 50, document_id="doc-2", title="Router maker ships firmware", text=TEXT)
    assert label(overlay(of_twin, of_this)) == "business"
    assert overlay(of_twin, of_this).newest(ingested()) == at(50)


def test_a_changed_correction_leaves_nothing_of_the_old_one_behind() -> None:
    view = overlay(
        feedback("f1", "security", 10, title="Old words here", text="entirely", story="s1"),
        feedback("f1", "business", 20, title="New words", text="all different", story="s2"),
    )
    assert label(view, ingested("x", "Old words here", "entirely", story="s1")) == ""
    assert label(view, ingested("x", "New words", "all different")) == "business"


def test_other_feedback_changes_nothing() -> None:
    rating = feedback("f1", "security").model_copy(update={"kind": "rating", "rating": 1})
    view = overlay(rating)
    assert len(view) == 0 and view.newest(ingested()) is None


@given(st.sets(st.sampled_from([f"w{n}" for n in range(40)]), min_size=1, max_size=40), st.integers(0, 10**6))
def test_no_near_duplicate_slips_through_the_index(words: set[str], seed: int) -> None:
    chance = random.Random(seed)
    other = set(words)
    for _ in range(chance.randint(0, 4)):
        other.symmetric_difference_update({f"w{chance.randint(0, 50)}"})
    if jaccard(frozenset(words), frozenset(other)) >= SAME:
        assert set(probes(frozenset(words))) & set(probes(frozenset(other)))


def test_the_same_id_on_two_documents_is_two_corrections() -> None:
    other = ingested("doc-2", title="Comet returns", text="It is seen at dawn.")
    view = overlay(feedback("1", "security"), feedback("1", "science", 11, document_id="doc-2"))
    assert (label(view), label(view, other), len(view)) == ("security", "science", 2)
    view.remember(feedback("2", minutes=12, document_id="doc-2", retracts="1"))
    assert (label(view), label(view, other)) == ("security", "")


def test_texts_are_judged_while_feedback_comes_in() -> None:
    view, failed, done = Overlay(), [], threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                view.corrections(Bare("", "alpha beta gamma delta epsilon zeta eta theta", "news"))
        except RuntimeError as error:
            failed.append(error)

    readers = [threading.Thread(target=ask) for _ in range(2)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that without a lock it fails
    try:
        for reader in readers:
            reader.start()
        for n in range(400):
            view.remember(feedback(f"f{n}", "world", document_id=f"d{n}", text=f"alpha beta gamma delta epsilon zeta eta theta {n}"))
    finally:
        sys.setswitchinterval(before)
        done.set()
        for reader in readers:
            reader.join()
    assert not failed

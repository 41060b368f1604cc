"""The bundled model's training examples: right by construction, to the letter what use asks, and never a desk's own label."""

import json
import random

import pytest

from services.trainer import examples as making
from services.trainer import supervision
from services.trainer.supervision import NEVER
from shared import grounding, prompts
from shared.events import Link
from shared.taxonomy import label_set

ROW = {
    "id": "opensuse_news-000001",
    "source": "opensuse_news",
    "title": "Build Service 2.4 released",
    "text": "The openSUSE project has released version 2.4 of the Build Service, its software for packages. Adèle Schröter wrote the new scheduler. "
    "The scheduler starts package builds twice as fast on Linux servers.\n\nPlease update your client before 14 March. Ada Lovelace was not involved.",
}  # fmt: skip


def chances(count: int) -> list[random.Random]:
    return [random.Random(seed) for seed in range(count)]


def test_category_goes_by_the_corpus_unless_the_words_speak_against_it() -> None:
    assert supervision.category_of("opensuse_news", "", ROW["text"]) == "technology"
    assert supervision.category_of("openstax", "osbooks-astronomy/modules/m1", "The telescope showed a galaxy and its stars in orbit.") == "science"
    assert supervision.category_of("openstax", "osbooks-us-history/modules/m1", "It was a long winter for everybody.") is None
    final = "The coach thanked every athlete after the championship: the team won the basketball tournament in a full stadium."
    assert supervision.category_of("congress_press", "", final) == "sport"


def test_windows_about_a_desks_own_label_are_left_out() -> None:
    text = "Inflation and unemployment rose while monetary policy and interest rates stood still; GDP fell in the recession."
    assert supervision.category_of("congress_press", "", text) is None
    assert supervision.category_of("headline", "", "Malware exploit opens breach") is None
    with pytest.raises(ValueError, match="own label"):
        making.label_example(label_set().tasks["category"], "security", "", text, random.Random(1))


@pytest.mark.parametrize(
    ("text", "tone"),
    [
        ("She won the award and was praised for a wonderful success.", "positive"),
        ("Dozens were killed in the attack; the collapse was a tragedy.", "negative"),
        ("The file is read from top to bottom.", "neutral"),
        ("She won, but dozens were killed.", None),
    ],
)
def test_sentiment_by_its_words(text: str, tone: str | None) -> None:
    assert supervision.sentiment_of(text) == tone


def test_label_examples_ask_what_use_asks_and_answer_with_an_offered_label() -> None:
    tasks = label_set().tasks
    for chance in chances(80):
        for task, gold in (("category", "technology"), ("sentiment", "positive"), ("urgency", "low")):
            example = making.label_example(tasks[task], gold, ROW["title"], ROW["text"], chance)
            assert example.task is not None and example.answer in example.task.labels and example.answer not in NEVER
            user = example.messages[1]["content"]
            assert f"Task: {example.task.name}\nLabels: {', '.join(example.task.labels)}\nAnswer with one label." in user
    standard = tasks["category"]
    plain = making.label_example(standard, "technology", ROW["title"], ROW["text"], random.Random(1), plain=True)
    assert plain.messages == prompts.label_messages(standard, ROW["title"], ROW["text"])


@pytest.mark.parametrize(
    "text",
    [
        "The bank waits. Rates hold.",
        "no stop at all",
        "---\nThe second line tells! More follows.",
        "一二三。 四五六。",
        "A rather long sentence that goes on and on about the harbour, its cranes and ships, and the people who work there by day and by night.",
        "x" * 300,
    ],
)
def test_a_document_without_a_title_is_headed_as_ingest_heads_it(text: str) -> None:
    from services.ingest.text import first_sentence

    assert prompts.headed(text) == first_sentence(text)
    example = making.label_example(label_set().tasks["urgency"], "low", "", text, random.Random(1), plain=True)
    assert example.messages == prompts.label_messages(label_set().tasks["urgency"], first_sentence(text), text)
    row = {"title": "", "text": text}
    shown = making.metadata_example(row, text, LABELS, [], random.Random(3)).messages[1]["content"]
    assert shown.startswith(f"{prompts.OPEN}\n{first_sentence(text)}")


def test_a_line_that_says_how_urgent_it_is_stands_in_the_document_it_was_put_into() -> None:
    cue = "The dam must be left at once."
    for chance in chances(40):
        title, text = making.urgent("First. Second. Third. Fourth. Fifth.", "high", cue, "A title", chance)
        assert cue.rstrip(".") in f"{title} {text}"


def test_renamed_labels_mean_the_gold_label() -> None:
    task, renamed = label_set().tasks["category"], supervision.cues()["renamed"]
    for chance in chances(200):
        put, name = making.asked(task, "science", chance)
        assert name in put.labels
        if put.name == "category":
            assert name == "science"
        elif name in ("yes", "no"):
            assert (name == "yes") == (put.name == f"category: science, {task.labels['science']}")
        else:
            assert name in renamed["science"]


NOISE = {"head": ["View this email in your browser, it reads better there."], "foot": ["Unsubscribe from the letters of the project here."]}
LABELS = {"category": "technology", "sentiment": "neutral", "urgency": "normal"}


def test_metadata_answers_obey_the_schema_of_use() -> None:
    for chance in chances(30):
        example = making.metadata_example(ROW, ROW["text"], LABELS, [], chance)
        answer = json.loads(example.answer)
        user = example.messages[1]["content"]
        links = next(line for line in user.splitlines() if line.startswith("Links: ")).removeprefix("Links: ").split()
        offered = grounding.candidates(ROW["title"], ROW["text"], [Link(url=url) for url in links])
        labels = {"category": answer["categories"][0], "sentiment": answer["sentiment"], "urgency": answer["urgency_level"]}
        assert labels == LABELS
        schema = grounding.metadata_schema(offered, labels)
        assert list(answer) == schema["required"]
        read = grounding.read_metadata(example.answer, offered)
        assert read.action_items == ["Please update your client before 14 March."]
        assert "category=" + labels["category"] in user and " " not in example.answer.split('"key_topics"')[0][-3:]
        assert "Adèle Schröter" in read.entities and "\\u" not in example.answer


def test_a_summary_is_the_first_offered_sentence_that_is_not_noise() -> None:
    pieces = grounding.sentences(ROW["text"])[:3]
    dressing = NOISE | {"actions": ["Please send the form by 3 May."], "not_actions": ["The form was sent on 2 May."]}
    noise = [*NOISE["head"], *NOISE["foot"]]
    dressed = 0
    for chance in chances(60):
        text = making.noisy(pieces, dressing, chance)
        dressed += noise[0] in text
        answer = json.loads(making.metadata_example(ROW, text, LABELS, noise, chance).answer)
        assert answer["summary"] not in noise
        assert all(line in ("Please send the form by 3 May.",) or line in pieces for line in answer["action_items"])
    assert dressed > 5


def test_repetitions_ask_for_one_sentence_of_the_passages() -> None:
    passages = ["The museum opened a new wing. It is for sculpture of all ages.", "Rates stayed at two per cent after the long meeting."]
    asked = set()
    for chance in chances(60):
        example = making.repeat_example(passages, chance)
        assert example is not None
        (said,) = json.loads(example.answer)
        question = example.messages[1]["content"].split("Question: ")[1].split("\n")[0]
        asked.add(question.split()[0])
        if question.startswith("What does passage"):
            assert grounding.sentences(passages[int(question.split()[3]) - 1])[0] == said
        else:
            assert said.startswith(question.split('"')[1].removesuffix(" …").split('"')[0])
    assert asked == {"What", "Which", "Repeat:"}


def test_answers_are_sentences_of_the_one_passage_that_names_the_subject() -> None:
    passages = [
        "Adèle Schröter wrote the new scheduler for packages. It is fast on every machine.",
        "The museum opened a new wing for sculpture on Monday.",
        "Rates stayed at two per cent after the long meeting.",
    ]
    made = [example for chance in chances(30) if (example := making.answer_example(passages, chance))]
    assert len(made) > 10
    for example in made:
        found = json.loads(example.answer)
        assert 1 <= len(found) <= 2 and set(found) <= set(grounding.sentences(passages[0]))
        assert all(piece in example.messages[1]["content"] for piece in found)


def test_a_leaflets_own_question_is_answered_by_its_own_paragraph() -> None:
    text = "What is (are) Asthma ?\n\nAsthma is a long-term disease of the airways. It makes breathing hard. It often starts in childhood.\n\nMore."
    example = making.leaflet_questions(text, ["Another passage on something else altogether."], random.Random(2))
    assert example is not None
    assert "Question: What is (are) Asthma?" in example.messages[1]["content"]
    assert json.loads(example.answer)[0] == "Asthma is a long-term disease of the airways."


def test_the_held_out_share_is_about_two_per_cent_and_stable() -> None:
    kept = [supervision.held_out(f"doc-{n}") for n in range(5000)]
    assert 60 <= sum(kept) <= 145
    assert kept == [supervision.held_out(f"doc-{n}") for n in range(5000)]

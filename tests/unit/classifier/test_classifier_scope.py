"""Negation, quotation, sentence: whose words they are and whether they are meant. And the shipped safety rules on hard texts of their own."""

import re
import time
from pathlib import Path

import pytest
import yaml
from classifier_samples import RULES

from services.classifier.rulebook import RuleBook
from services.classifier.scope import Negation, Speaker, negated, negation_of, speaker
from shared.taxonomy import label_set

NEWS, WELLBEING = label_set("news"), label_set("wellbeing")
DEVELOPED_ON = Path(__file__).parent / "safety_texts.yaml"
NOT = negation_of(["wont", "not going to", "would never", "dont think"])


@pytest.fixture(scope="module")
def rulebook() -> RuleBook:
    return RuleBook(RULES, label_set)


def risk(rulebook: RuleBook, text: str, collection: str = "wellbeing") -> str:
    labels = {hit.rule.label for hit in rulebook.rules.hits("", text, label_set(collection)) if hit.rule.task == "risk"}
    return "high" if "high" in labels else "low" if "low" in labels else "none"


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("i wont ", "", "NEGATED"),
        ("i wont ever ", "", "NEGATED"),
        ("no i wont ", "", "NEGATED"),
        ("i am sad but i would never ", "", "NEGATED"),
        ("i am not well and i wont ", "", "NEGATED"),
        ("i cant promise i wont ", "", "NONE"),
        ("i never said i wont ", "", "NONE"),
        ("i am not sure that i wont ", "", "NONE"),
        ("it is impossible that i wont ", "", "NONE"),
        ("i wont just ", "", "NONE"),
        ("i wont lie i want to ", "", "NONE"),
        ("i wont, i will ", "", "NONE"),
        ("i wont ", " yet", "NONE"),
        ("i wont ", " unless she calls", "NONE"),
        ("i wont ", " today", "NONE"),
        ("tell me why i wont ", "", "NONE"),
        ("i wont stop until you let me ", "", "NONE"),
    ],
)
def test_negation(before: str, after: str, wanted: str) -> None:
    text = f"{before}do it{after}"
    assert negated(NOT, text, 0, len(before), len(before) + 5) is Negation[wanted]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("i wont do it but now i will", "NONE"),
        ("i wont do it but now i am happy", "NEGATED"),
        ("i would never do it in front of mum", "DOUBTED"),
        ("i would never do it at home", "DOUBTED"),
        ("i would never do it over a game", "NEGATED"),
        ("i would never do it", "NEGATED"),
    ],
)
def test_a_negation_taken_back_or_of_the_way_alone(text: str, wanted: str) -> None:
    start = text.index("do it")
    assert negated(NOT, text, 0, start, start + 5, len(text)) is Negation[wanted]


def test_a_clause_of_its_own_is_not_negated_by_the_one_before_and_may_be_doubted() -> None:
    for text, wanted in (("i wont come i want it", Negation.NONE), ("i dont think i want it", Negation.DOUBTED)):
        start = text.rindex("i want")
        assert negated(NOT, text, 0, start, len(text)) is wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("i want it", "WRITER"),
        ('he said "i want it" and left', "OTHER"),
        ("he said 'i want it' and left", "OTHER"),
        ('the chorus goes "i want it"', "OTHER"),
        ('"i want it" is what i wrote in my diary', "WRITER"),
        ('my note says "i want it"', "WRITER"),
        ('i "i want it" you', "WRITER"),
        ('my sister said "i want it" to me', "UNSURE"),
        ("she said i want it", "UNSURE"),
        ("i said i want it", "WRITER"),
        ("🎵 i want it 🎵", "OTHER"),
        ("🎵 i want it", "UNSURE"),
        ("🎵🎶 i want it 🎶", "OTHER"),
        ("🎵 la la 🎵 i want it", "WRITER"),
        ("🎵 la la 🎵 i want it 🎵", "UNSURE"),
        ("🎵 " + "la " * 400 + "🎵 i want it 🎵", "UNSURE"),
        ("> how are you?\ni want it", "WRITER"),
        ("they say: 'i want it' is what patients tell us", "OTHER"),
        ("> i want it", "UNSURE"),
        ("'cause i want it, the kids' toys", "WRITER"),
        ('he said "no". i want it', "WRITER"),
    ],
)
def test_speaker(text: str, wanted: str) -> None:
    start = text.index("want it")
    assert speaker(text, start, start + 7) is Speaker[wanted]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("I want to kill myself", "high"),
        ("i dont want to live anymore 😔", "high"),
        ("I DON’T WANT TO\nLIVE ANYMORE", "high"),
        ("I can't promise that I won't hurt myself", "high"),
        ("I don't know whether I want to kill myself", "high"),
        ("He left me, and I am going to end it tonight.", "high"),
        ('I told them "I want to die" and they laughed at me', "high"),
        ("s u i c i d e is all i think about, i want to d i e", "high"),
        ("k1ll mys3lf, that's the plan", "high"),
        ("🔪 my wrists", "high"),
        ("not a joke, gonna unalive tonight", "high"),
        ("It's not that I'm not going to kill myself, it's just that I'm waiting", "high"),
        ("I won't come tomorrow. I want to kill myself", "high"),
        ("I will not, I want to die", "high"),
        ("My brother died 3 months ago and I want to kill myself", "high"),
        ("when i was 15 i wanted to kill myself and now it is back", "high"),
        ("When I was 15 I wanted to kill myself", "low"),
        ("I used to cut myself in high school", "low"),
        ("If I ever wanted to end it all, I would call my mother first", "low"),
        ("My friend says she wants to kill herself", "low"),
        ("I can't go on", "low"),
        # an idiom or a job elsewhere in the sentence takes nothing back
        ("I want to kill myself over a girl", "high"),
        ("I slipped again and I want to kill myself", "high"),
        ("As a nurse I see death daily and tonight I want to kill myself", "high"),
        ("I will hang myself on the stairs tonight", "high"),
        ("I'd kill myself to finish this pain", "high"),
        ("I translate for a living and I want to kill myself", "high"),
        ("In this game I would kill myself", "low"),
        # every line break ends a sentence, and a quoted line
        ("fell off my bike yesterday\nI want to kill myself", "high"),
        ("my essay is done\nI want to kill myself tonight", "high"),
        ("> how are you?\nI want to kill myself", "high"),
        ("> I want to kill myself", "low"),
        # notes, negation and softening do not take everything back
        ("♪ I'm so tired ♪ I want to kill myself ♪", "low"),
        ("♪ I'm so tired ♪ I want to kill myself", "high"),
        ("I didn't want to kill myself but now I do", "high"),
        ("I will never kill myself in front of mum, I'll do it alone", "low"),
        ("If I ever get home I will kill myself", "high"),
        ("I feel hopeless and so tired", "low"),
        ("I'm not going to kill myself", "none"),
        ("I would never ever kill myself", "none"),
        ("I won't kill myself over it", "none"),
        ("I was killing myself laughing", "none"),
        ("I'm dying to see the new film, killing time until then", "none"),
        ("I shot myself in the foot again", "none"),
        ("this homework is killing me and my phone died", "none"),
        ("I'd kill for a coffee, I'm dead tired", "none"),
        ("lol i'm dead 💀 this meme killed me", "none"),
        ("Suicide prevention week begins; the ministry reports fewer suicides.", "none"),
        ("The novel ends when the soldier says “I want to die” and closes the door.", "none"),
        ("A man told police he wanted to take his own life.", "none"),
        ("The peace talks cannot go on, the envoy said.", "none"),
        ("I skill myself up", "none"),
        ("So sorry for your loss. Your father's death is a shock to all of us.", "none"),
        ("As a nurse I screen my patients: 'I want to die' is what some of them tell us in the survey", "none"),
        ("In Minecraft I jump in front of a train to respawn faster", "none"),
        ("Kill the process, then the zombie children die by themselves", "none"),
        ("The plan: run 10 kms on Monday, 5 kms on Friday", "none"),
    ],
)
def test_risk(rulebook: RuleBook, text: str, wanted: str) -> None:
    assert risk(rulebook, text) == wanted
    if wanted != "low":
        assert risk(rulebook, text, "news") == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("I want to kill myself", {"risk": "high", "emotion": "self_harm_high", "stress": "high", "sentiment": "negative"}),
        ("I'm sick of people wasting my time", {"emotion": "stress", "stress": "low", "risk": "low", "sentiment": "negative"}),
        ("I will marry her", {}),
        ("I am unstoppable", {}),
        ("I went to the store", {}),
    ],
)
def test_what_the_rules_say_of_the_five_statements(rulebook: RuleBook, text: str, wanted: dict[str, str]) -> None:
    """Not because the sentences are in a rule: no rule holds more than a few words of them, and of three of them none at all."""
    assert {hit.rule.task: hit.rule.label for hit in rulebook.rules.hits("", text, WELLBEING)} == wanted


@pytest.mark.parametrize(
    "filler",
    ["I wont kill myself ", 'i i i "said ', "not a day passes ", "i am not cutting myself ", "k i l l ", "k*ll mys3lf' \" ", "🎵 i want to die "],
)
def test_a_long_text_without_full_stops_is_read_quickly(rulebook: RuleBook, filler: str) -> None:
    began = time.process_time()
    rulebook.rules.hits("", filler * 2000, NEWS)
    assert time.process_time() - began < 3.0
    assert risk(rulebook, filler.replace('"', "").replace("'", "") * 2000 + "x\n\nI want to die") == "high"
    assert risk(rulebook, re.sub("🎵", "", filler) * 20 + "… I want to die") == "high"


@pytest.mark.parametrize(("wanted", "least"), [("high", 0.9), ("low", 0.95), ("none", 0.97)])
def test_the_texts_that_the_rules_were_developed_on(rulebook: RuleBook, wanted: str, least: float) -> None:
    """So that an edit of the rules does not lose what they had found. Oblique ones ("the letter is on the table") are for the other parts."""
    texts = yaml.safe_load(DEVELOPED_ON.read_text(encoding="utf-8"))[wanted]
    wrong = [text for text in texts if risk(rulebook, text) != wanted]
    assert len(texts) >= 15 and 1 - len(wrong) / len(texts) >= least, wrong


@pytest.mark.parametrize(
    ("name", "wanted", "least"),
    [("fresh_danger", "high", 0.9), ("fresh_lookalike", "none", 1.0), ("reviewed_danger", "high", 0.9), ("reviewed_lookalike", "none", 1.0),
     ("heldout_danger", "high", 0.8), ("heldout_lookalike", "none", 1.0)],
)  # fmt: skip
def test_danger_and_what_looks_like_it(rulebook: RuleBook, name: str, wanted: str, least: float) -> None:
    texts = yaml.safe_load(DEVELOPED_ON.read_text(encoding="utf-8"))[name]
    said = {text: risk(rulebook, text) for text in texts}
    wrong = {text: label for text, label in said.items() if label != wanted}
    assert 1 - len(wrong) / len(texts) >= least, wrong


def test_a_long_text_is_judged_to_its_end(rulebook: RuleBook) -> None:
    """However often the words stand there and are taken back, and however far away they are meant."""
    began = time.process_time()
    assert risk(rulebook, "I would never kill myself. " * 8000) == "none"
    assert risk(rulebook, "I would never kill myself. " * 8000 + "I want to kill myself") == "high"
    assert time.process_time() - began < 15


def test_what_is_said_softly_hides_nothing_graver(rulebook: RuleBook) -> None:
    assert risk(rulebook, "When I was 15 I wanted to kill myself. I took 40 paracetamol.") == "high"
    [soft] = [hit for hit in rulebook.rules.hits("", "When I was 15 I wanted to kill myself", NEWS) if hit.rule.id == "risk-past-said"]
    assert (soft.rule.label, soft.rule.kind) == ("low", "plain")


@pytest.mark.parametrize("text", ["I don't think I want to die", "It doesn't mean I want to die", "Nobody said I actually want to die"])
def test_a_doubt_holds_also_for_a_rule_whose_words_begin_after_the_i(text: str, rulebook) -> None:
    said = {hit.rule.label for hit in rulebook.rules.hits("", text, label_set("wellbeing")) if hit.rule.task == "risk"}
    assert said == {"low"}


@pytest.mark.parametrize("text", ["I don't care, I want to die", "I can't stop thinking I want to die", "I don't feel like living, I want to die"])
def test_a_denial_of_something_else_is_no_doubt(text: str, rulebook) -> None:
    assert "high" in {hit.rule.label for hit in rulebook.rules.hits("", text, label_set("wellbeing")) if hit.rule.kind == "block"}


@pytest.mark.parametrize(
    "text",
    [
        'Typed "I want to kill myself tonight" into the search bar again',
        'No sign of it getting better. "I want to kill myself" is the only sentence left.',
        '"I\'m going to kill myself tonight." There, stated plainly.',
        "Carved 'I want to die' into my arm again",
        "I'm leaving this world of pain tonight",
        "I am tired of living without any hope",
        "I've lost the will to live and I don't know who to tell",
        "I'm going to jump in front of a train for real",
        "Is it not that I want to die? I do",
    ],
)
def test_what_takes_harmless_words_back_does_not_take_back_danger(text: str, rulebook) -> None:
    assert "high" in {hit.rule.label for hit in rulebook.rules.hits("", text, label_set("wellbeing")) if hit.rule.kind == "block"}

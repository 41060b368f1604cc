"""Does one story get one id? `python -m tests.bench.stories` prints recall on retold texts and false merges of texts that are only made alike.

The pairs are made here, seeded: retellings of the sample's items (and of press releases, where FEEDLOOP_DATA names the data), against texts of one
template with other facts, made and real (security advisories, country pages).
"""

import json
import lzma
import os
import random
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from services.ingest.stories import Stories, signature

Text = tuple[str, str]  # title, text
DATA = Path(os.environ.get("FEEDLOOP_DATA") or "../shared/data")
SEED = 20_241_121
_PLACES = "Pellara Oberau Somarra Kestrel Bay|Northam|Vell|Ardenne|Lowick|Tarn|Mirova|Esk|Halden|Brint|Corvo|Danby|Ostra|Quill|Ravel|Sund".replace(
    " ", "|", 3
).split("|")
_FIRMS = "Harbourgate Norlund Aster Vantik Brightwell Corman Delft-Oy Essen Faraday Gallow Hexham Ironvale Juno Kellner Lumen Maddox".split()
_PEOPLE = "Ana Rivera|Bo Lind|Carla Moss|Devendra Kaul|Eve Strand|Finn Oduya|Gert Hollis|Hana Sato|Ivo Petrov|Jo Marsh|Kai Berg|Lea Noor".split("|")
_CLUBS = "Rovers United Athletic Wanderers City Rangers Albion Thistle Harriers Victoria".split()
_MONTHS = "January February March April May June July August September October November December".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_SKY = ["mostly cloudy with light rain", "sunny with a few clouds", "overcast with heavy showers", "clear and frosty", "windy with snow on the hills"]
_SYNONYMS = {
    "said": "stated", "will": "is to", "new": "fresh", "big": "large", "many": "a lot of", "people": "residents", "because": "since", "after": "following",
    "town": "municipality", "money": "funds", "showed": "revealed", "about": "around", "more than": "over", "says": "states", "also": "additionally",
}  # fmt: skip
_BEFORE = (
    "Home News Business Sport Weather Subscribe Sign in My account Latest headlines Advertisement By our staff Updated today Share this article. "
)
_AFTER = (
    " Follow us for more. This story was first published by a partner and has been edited for style. Sign up for our morning briefing and never miss "
    "a story. Read next: five things to do this weekend. Copyright, all rights reserved. No part of this may be reproduced without permission."
)


def sample() -> list[Text]:
    from deploy.sample.authored import items

    return [(item.title, item.plain) for item in items() if len(item.plain.split()) >= 50 and not item.same_story_as]


def rows(name: str, most: int) -> list[Text]:
    """Texts of the data folder; none where it is not there."""
    path = DATA / "pretrain" / f"{name}.jsonl.xz"
    if not path.exists():
        return []
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        found = (json.loads(line) for line in lines)
        return [(row.get("title") or "", row["text"]) for row in islice((row for row in found if len(row["text"].split()) >= 60), most)]


def sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?])\s+", text) if part]


def edited(title: str, text: str, rng: random.Random) -> Text:
    """A later version: some words exchanged, one figure corrected, a sentence taken out and one added."""
    for word, other in _SYNONYMS.items():
        if rng.random() < 0.5:
            text = re.sub(rf"\b{word}\b", other, text)
    told = sentences(text)
    if len(told) > 4:
        told.pop(rng.randrange(1, len(told)))
    figures = [n for n, part in enumerate(told) if re.search(r"\d", part)]
    if figures:
        at = rng.choice(figures)
        told[at] = re.sub(r"\d", lambda match: str((int(match[0]) + 1) % 10), told[at], count=1)
    told.insert(rng.randrange(len(told) + 1), "A spokesman declined to comment further on the matter.")
    return title, " ".join(told)


def cut_short(title: str, text: str, rng: random.Random) -> Text:
    """What a feed shows of it: the beginning, with an ellipsis."""
    words = text.split()
    return title, " ".join(words[: max(30, int(len(words) * rng.uniform(0.25, 0.6)))]) + " …"


def dressed(title: str, text: str, rng: random.Random) -> Text:
    """With another site's things around it."""
    return title, _BEFORE * rng.randint(0, 1) + f"{rng.choice(_PLACES).upper()} (Wire) — " + text + _AFTER


def renamed(title: str, text: str, rng: random.Random) -> Text:
    """Names as another language writes them: other endings and letters, the same in title and text."""
    names = sorted(set(re.findall(r"(?<=[a-z,] )[A-Z][a-z]{3,}", text)) - set(_DAYS) - set(_MONTHS))
    table = str.maketrans({"c": "k", "k": "ck", "v": "w", "y": "ij", "a": "ä"})
    for name in names[: max(1, len(names) * 2 // 3)]:
        other = name[0] + name[1:].translate(table) + rng.choice(["", "", "o", "en"])
        title, text = (re.sub(rf"\b{name}\b", other, part) for part in (title, text))
    return title, text


def syndicated(title: str, text: str, rng: random.Random) -> Text:
    """Another headline and another first sentence over the same report."""
    told = sentences(text)
    first = told[0].split()
    told[0] = f"It emerged this week that {' '.join(first[: len(first) // 2]).lower()}, according to reports seen here."
    return f"What we know: {' '.join(rng.sample(title.split(), k=len(title.split()) // 2))}", " ".join(told)


def everything(title: str, text: str, rng: random.Random) -> Text:
    words = text.split()
    return dressed(*syndicated(*edited(title, " ".join(words[: max(45, int(len(words) * 0.8))]), rng), rng), rng)


RETOLD: dict[str, Callable[[str, str, random.Random], Text]] = {
    "edited": edited,
    "cut short": cut_short,
    "with boilerplate": dressed,
    "names translated": renamed,
    "another headline": syndicated,
    "all of it": everything,
}


def weather(rng: random.Random) -> Text:
    place, day = rng.choice(_PLACES), rng.choice(_DAYS)
    low = rng.randint(-8, 18)
    return f"Weather for {place}: {day}", (
        f"{day} in {place} will be {rng.choice(_SKY)}. Temperatures will rise to {low + rng.randint(4, 12)} degrees in the afternoon and fall to {low} degrees "
        f"at night. Winds from the {rng.choice(['north', 'south', 'east', 'west'])} at {rng.randint(5, 70)} kilometres an hour are expected. The chance of rain is "
        f"{rng.randint(0, 100)} per cent. Sunrise is at {rng.randint(4, 8)}:{rng.randint(10, 59)} and sunset at {rng.randint(16, 22)}:{rng.randint(10, 59)}. "
        "Drivers are asked to take care on bridges and high ground, and to follow the advice of the road service."
    )


def earnings(rng: random.Random) -> Text:
    firm, boss, now = rng.choice(_FIRMS), rng.choice(_PEOPLE), rng.randint(100, 9000)
    up = rng.choice(["rose", "fell"])
    return f"{firm} reports quarterly results", (
        f"{firm} said on {rng.choice(_DAYS)} that net profit for the quarter {up} to {now} million crowns from {now + rng.randint(-90, 90)} million a year earlier. "
        f"Revenue {up} {rng.randint(1, 40)} per cent to {rng.randint(2, 90)}.{rng.randint(0, 9)} billion crowns. Earnings per share were {rng.randint(1, 9)}."
        f"{rng.randint(10, 99)} crowns. Chief executive {boss} said the company was well placed for the rest of the year and confirmed its outlook. The board "
        f"proposed a dividend of {rng.randint(1, 9)}.{rng.randint(10, 99)} crowns a share. Shares in {firm} {up} {rng.randint(1, 9)}.{rng.randint(0, 9)} per cent in early trading."
    )


def match(rng: random.Random) -> Text:
    (home, away), (x, y) = rng.sample(_PLACES, 2), rng.sample(_CLUBS, 2)
    who = rng.sample(_PEOPLE, 3)
    return f"{home} {x} beat {away} {y}", (
        f"{home} {x} beat {away} {y} {rng.randint(2, 5)}-{rng.randint(0, 1)} on {rng.choice(_DAYS)} in front of {rng.randint(2, 60)},{rng.randint(100, 999)} people. {who[0]} "
        f"scored the first goal after {rng.randint(1, 45)} minutes, and {who[1]} added the second shortly after half time. The visitors had chances to come back "
        f"into the game but did not take them. Manager {who[2]} said his players had worked hard and deserved the three points. {home} are now "
        f"{rng.randint(1, 20)}th in the table with {rng.randint(3, 80)} points from {rng.randint(3, 38)} games."
    )


def quake(rng: random.Random) -> Text:
    place = rng.choice(_PLACES)
    size = f"{rng.randint(3, 7)}.{rng.randint(0, 9)}"
    return f"Magnitude {size} earthquake near {place}", (
        f"An earthquake of magnitude {size} struck {rng.randint(5, 200)} kilometres {rng.choice(['north', 'south', 'east', 'west'])} of {place} on {rng.choice(_DAYS)} at "
        f"{rng.randint(0, 23)}:{rng.randint(10, 59)} local time, the geological service said. It was {rng.randint(5, 300)} kilometres deep. There were no immediate reports "
        "of injuries or damage, and no tsunami warning was issued. Residents felt shaking for several seconds. The service said that aftershocks were likely."
    )


def advisory(rng: random.Random) -> Text:
    firm, number = rng.choice(_FIRMS), rng.randint(10000, 99999)
    return f"{firm}: security update", (
        f"A vulnerability was found in {firm} {rng.randint(1, 9)}.{rng.randint(0, 20)}. CVE-{rng.randint(2018, 2026)}-{number} allows a remote attacker to execute arbitrary code by "
        f"sending a crafted request. For the stable distribution this problem has been fixed in version {rng.randint(1, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 9)}-{rng.randint(1, 5)}. "
        "We recommend that you upgrade your packages. Further information about security advisories, how to apply these updates to your system and "
        "frequently asked questions can be found on our pages."
    )


def opening(rng: random.Random) -> Text:
    firm, place = rng.choice(_FIRMS), rng.choice(_PLACES)
    return f"{firm} is hiring in {place}", (
        f"{firm} is looking for an experienced engineer to join its team in {place}. You will design, build and run services that our customers rely on every day. "
        f"You have at least {rng.randint(2, 10)} years of experience and like to work with others. We offer a salary between {rng.randint(30, 60)},000 and {rng.randint(61, 120)},000 crowns, "
        f"{rng.randint(20, 35)} days of leave, flexible hours and a pension. Send your application to {rng.choice(_PEOPLE)} by {rng.randint(1, 28)} {rng.choice(_MONTHS)}."
    )


TEMPLATES: dict[str, Callable[[random.Random], Text]] = {
    "weather": weather,
    "earnings": earnings,
    "match report": match,
    "earthquake": quake,
    "security update": advisory,
    "job": opening,
}


def same(first: Text, second: Text) -> bool:
    """Whether the index gives the second text the story of the first."""
    stories = Stories(most=2)
    stories.add("first", signature(*first), "first")
    return stories.story_of("second", signature(*second)) == "first"


def recall(texts: list[Text], kind: str) -> tuple[int, int]:
    """(found, pairs): retellings that get the story of what they retell."""
    rng = random.Random(f"{SEED}{kind}")
    return sum(same(text, RETOLD[kind](*text, rng)) for text in texts), len(texts)


def merges(texts: list[Text]) -> tuple[int, int]:
    """(merged, texts): different texts, taken in one after the other by one index, that get another one's story."""
    stories = Stories(most=len(texts))
    merged = 0
    for n, text in enumerate(texts):
        found = signature(*text)
        story = stories.story_of(str(n), found)
        stories.add(str(n), found, story)
        merged += story != str(n)
    return merged, len(texts)


def made(kind: str, count: int) -> list[Text]:
    rng = random.Random(f"{SEED}{kind}")
    return [TEMPLATES[kind](rng) for _ in range(count)]


def lines(count: int = 200) -> Iterator[str]:
    """The table, line by line. `count` is that of the texts of each kind."""
    found = pairs = merged = 0
    for name, texts in (("sample", sample()), ("press releases", rows("congress_press", count))):
        for kind in RETOLD if texts else ():
            hit, of = recall(texts, kind)
            found, pairs = found + hit, pairs + of
            yield f"recall, {name}, {kind:18} {hit:4} of {of:4}   {hit / of:.3f}"
    real = [(name, rows(name, count)) for name in ("debian_security", "world_factbook", "congress_press")]
    for name, texts in [(f"template: {kind}", made(kind, count)) for kind in TEMPLATES] + real + [("sample", sample())]:
        if texts:
            wrong, of = merges(texts)
            merged += wrong
            yield f"merged wrongly, {name:28} {wrong:4} of {of:4}   {wrong / of:.3f}"
    yield f"recall {found / pairs:.3f}   precision {found / max(1, found + merged):.3f}   ({pairs} retellings, {found} found, {merged} wrong merges)"


def main() -> None:
    for line in lines():
        print(line)


if __name__ == "__main__":
    main()

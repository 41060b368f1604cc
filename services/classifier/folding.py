"""Text as rules see it: the same words whatever keyboard, font or trick they were written with. Pure, and the same for phrases and for texts.

One word at a time (what stands between white space), because words repeat and a cache of them makes this fast. What needs to know which words the rules
look for (leetspeak, masked letters) is in services.classifier.spelling.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

_QUOTES = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'", "′": "'", "＇": "'", "“": '"', "”": '"', "„": '"', "‟": '"', "«": '"', "»": '"'}
)
_APOSTROPHE = re.compile(r"(?<=\w)'(?=\w)")
_ASCII_LETTER = re.compile(r"[a-z]")
_ACCENTS_ON_ASCII = re.compile("(?<=[a-z])[\u0300-\u036f\u0488\u0489\u20d0-\u20f0]+")  # what NFC could not compose: crossed out or piled up letters
_SURROGATE = re.compile("[\ud800-\udfff]")
# Letters that look like a Latin one, after casefold: a small choice of Unicode's confusables (UTS 39), Cyrillic, Greek and small capitals.
LOOKALIKES = str.maketrans(
    "авсԁеёһніїјкӏмопрѕтуѵԝхзьց" + "αβεικνορτυχγηω" + "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ",
    "abcdeehhiijklmonpstyvwx3bg" + "abeikvoptuxynw" + "abcdefghijklmnoprstuvwyz",
)
_LOOKALIKE = re.compile(f"[{''.join(map(chr, LOOKALIKES))}]")
LONGEST_WORD = 80  # characters; what is longer is no word, and is neither remembered nor respelled
_WORD = re.compile(r"\S+")
_LINE_BREAK = re.compile("\r\n|[\n\r\v\f\x85\u2028\u2029]")


@dataclass(frozen=True)
class Folded:
    """A folded text that knows where its words stood: word n begins at starts[n] of `text`, and was written at places[n] of what was given."""

    text: str
    starts: Sequence[int]
    places: Sequence[tuple[int, int]]
    most_single: int = 0  # single characters that stand one after another, at most: three may be a spaced-out word
    breaks: Sequence[int] = ()  # where a space of `text` was a line break: phrases are found across it, but a sentence ends there

    @cached_property
    def lines(self) -> str:
        """`text`, letter by letter the same, with \\n where a line ended."""
        parts, last = [], 0
        for place in self.breaks:
            parts += [self.text[last:place], "\n"]
            last = place + 1
        return "".join([*parts, self.text[last:]])

    def written(self, start: int, end: int) -> tuple[int, int]:
        """Where the words of text[start:end] stand in what was given, whole words with what is attached to them."""
        if not self.starts:
            return 0, 0
        first, last = (max(0, bisect_right(self.starts, place) - 1) for place in (start, max(start, end - 1)))
        return self.places[first][0], self.places[last][1]


def read(given: str, word: Callable[[str], str], known: Mapping[str, str]) -> Folded:
    """The text word by word, each as `known` has it or else turned by `word`, with single spaces, and \\n between paragraphs; `breaks` tells the
    lines."""
    pieces: list[str] = []
    starts, places, breaks, length, last, single, most = [], [], [], 0, 0, 0, 0
    for found in _WORD.finditer(given):
        raw = found[0]
        turned = known.get(raw)
        if turned is None:
            turned = word(raw)
        if not turned:
            continue
        if pieces:
            lines = len(_LINE_BREAK.findall(given, last, found.start()))
            pieces.append("\n" if lines > 1 else " ")
            if lines == 1:
                breaks.append(length)
            length += 1
        pieces.append(turned)
        starts.append(length)
        places.append(found.span())
        length += len(turned)
        last = found.end()
        single = single + 1 if len(turned) == 1 or (len(turned) == 2 and turned[1] in ".,-_*") else 0
        most = max(most, single)
    return Folded("".join(pieces), starts, places, most, breaks)


def fold(text: str) -> str:
    """Lower case, plain quotes, no apostrophes inside words ("don't" -> "dont"), full-width and styled letters as plain ones (NFKC), nothing invisible,
    look-alikes of other scripts inside a Latin word as what they look like; single spaces; \\n between paragraphs."""
    return read(text, fold_word, {}).text


def fold_word(word: str) -> str:
    """One word folded. It may hold spaces afterwards, where NFKC takes a sign apart, and may be empty, where nothing of it can be seen."""
    return _fold_short(word) if len(word) <= LONGEST_WORD else _fold(word)


def _fold(word: str) -> str:
    if word.isascii():
        word = word.lower()
        return _APOSTROPHE.sub("", word.replace("`", "'")) if "'" in word or "`" in word else word
    word = unicodedata.normalize("NFKC", _SURROGATE.sub("\ufffd", word)).translate(_QUOTES).casefold()
    word = "".join(c for c in unicodedata.normalize("NFC", word) if not _is_invisible(c))
    word = _ACCENTS_ON_ASCII.sub("", word)
    if _ASCII_LETTER.search(word) and _LOOKALIKE.search(word):
        word = word.translate(LOOKALIKES)
    return " ".join(_APOSTROPHE.sub("", word).split())


_fold_short = lru_cache(maxsize=50_000)(_fold)


def _is_invisible(c: str) -> bool:
    """Format characters (zero-width spaces and joiners, soft hyphen, direction marks, tags), variation selectors, fillers."""
    return unicodedata.category(c) == "Cf" or "\ufe00" <= c <= "\ufe0f" or c in "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164\uffa0"

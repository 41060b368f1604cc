"""Words that were written so that no machine finds them: k1ll, k*ll, kiiill, k.i.l.l, k i l l, #killmyself.

A spelling is only ever taken for a word that the rules look for, and only where it is no such word itself: ordinary text stays as it is, and a rule
needs its whole phrase to hit. So "3d" stays "3d", and "k1ll the lights" is "kill the lights", which no rule wants.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import groupby, product

from services.classifier.folding import LONGEST_WORD, LOOKALIKES, Folded, fold_word, read

_LEET = {"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "6": "g", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s", "!": "il", "|": "il"}
_LEET |= {"+": "t", "€": "e", "£": "l", "¡": "i", "(": "c"}
_VARIANTS = LOOKALIKES | str.maketrans("ıłøđħƙɡɩǀ", "ilodhkgil")  # of Latin letters: ordinary in other languages, so never folded by themselves
_MASKS = "*#•·×"
# slips of the finger, of the words that count most; a list, because a general repair would turn "sacred" into "scared"
_SLIPS = dict.fromkeys("myslef mysefl myslelf myseld mysef mysel myelf msyelf mysself myslf ymself".split(), "myself")
_SLIPS |= dict.fromkeys("sucide suicde suiside siucide suicied sucicide".split(), "suicide")
_SLIPS |= dict.fromkeys("sucidal suicdal suisidal siucidal suicidle suicidial".split(), "suicidal")
# left out of a text, save where a rule looks for them: "blow my fucking brains out" is said as well
_EXPLETIVES = frozenset(
    "fucking fuckin fking fkn fckin fcking fucken freaking freakin frickin fricking goddamn goddamned effing motherfucking".split()
)
_MASKED_EXPLETIVE = re.compile(r"f[*#@]{1,3}k?in[g']?")
MOST_GUESSES = 64  # ways to read one word that are tried
SHORTEST = 3  # letters; a shorter word is never guessed at
MOST_KNOWN = 50_000  # words that are remembered
LONGEST_RUN = 60  # letters of a spaced-out phrase
_EDGES = re.compile(r"^([\"'(\[{<~_.,;:-]*)(.*?)([\"')\]}>~_.,;:!?-]*)$", re.DOTALL)
_BETWEEN_LETTERS = re.compile(r"[.\-_*•·|/~,]")
_SPACED = re.compile(r"(?<![\w'])[^\W_](?:[ .\-_*•·|/]{1,3}[^\W_]){2,}(?![\w'])")


class Speller:
    """Knows the words and phrases that rules look for (folded). `read` folds a text and undoes other spellings of these."""

    def __init__(self, phrases: Iterable[str], words: Iterable[str] = ()) -> None:
        given = set(phrases)
        self._words = {word for phrase in [*given, *words] for word in re.findall(r"\w+", phrase)}
        self._glued = {phrase.replace(" ", ""): phrase for phrase in sorted(given) if " " in phrase}
        self._by_length: dict[int, list[str]] = {}
        for known in sorted(self._words):
            self._by_length.setdefault(len(known), []).append(known)
        self._longest = max(map(len, self._words), default=0)
        self._known: dict[str, str] = {}  # words as written -> as read

    def read(self, given: str) -> Folded:
        """The text folded, with other spellings undone."""
        folded = read(given, self._word, self._known)
        return _without_gaps(folded, self._unspaced) if folded.most_single >= SHORTEST else folded

    def _word(self, raw: str) -> str:
        if len(raw) > LONGEST_WORD:
            return fold_word(raw)
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        return self._known.setdefault(raw, self._respelled(raw))

    def _respelled(self, raw: str) -> str:
        folded = fold_word(raw)
        if folded in self._words or " " in folded:
            return folded
        if folded in _EXPLETIVES or _MASKED_EXPLETIVE.fullmatch(folded):
            return ""
        before, core, after = _EDGES.fullmatch(folded).groups()  # type: ignore[union-attr]
        if core in self._words or len(core) < SHORTEST:
            short = core.replace("0", "o")  # "t0 die"; no other sign of two: "b4" and "m3" mean something else
            return f"{before}{short}{after}" if len(core) == 2 and core != short and short in self._words else folded
        return f"{before}{self._guess(core) or core}{after}"

    def _guess(self, core: str) -> str:
        """The word or phrase that is meant, empty where nothing that a rule looks for is."""
        if core.startswith("#"):
            return self._glued.get(core[1:]) or self._parted(core[1:])
        if _SLIPS.get(core) in self._words:
            return _SLIPS[core]
        if core.isascii() and core.isalpha():
            return self._glued.get(core) or self._with_i(core) or self._squeezed(core)
        plain = "".join(c for c in unicodedata.normalize("NFD", core.translate(_VARIANTS)) if not unicodedata.combining(c))
        if plain != core and plain in self._words:
            return plain
        letters = _BETWEEN_LETTERS.split(core)
        if len(letters) > 1:
            together = "".join(letters)
            if all(len(letter) == 1 for letter in letters) and len(letters) >= SHORTEST and (found := self._unspaced(together)):
                return found
            if together in self._glued and self._glued[together].split(" ") == letters:
                return self._glued[together]
        return self._leet(plain) or self._masked(core)

    def _with_i(self, word: str) -> str:
        """iwanttodie: the phrase that rules look for may begin after the pronoun."""
        return f"i {self._glued[word[1:]]}" if word[0] == "i" and word[1:] in self._glued else ""

    def _squeezed(self, word: str) -> str:
        """kiiilll -> kill: three and more of a letter stand for two or one."""
        runs = [(letter, len(list(same))) for letter, same in groupby(word)]
        if all(count < 3 for _, count in runs):
            return ""
        ways = [(letter * 2, letter) if count >= 3 else (letter * count,) for letter, count in runs]
        return self._first_known("".join(way) for way in _few(ways))

    def _leet(self, word: str) -> str:
        if not any(c in _LEET for c in word) or not any(c.isalpha() for c in word):
            return ""
        guesses = ["".join(way) for way in _few([_LEET.get(c, c) for c in word])]
        return self._first_known(guesses) or next((self._glued[guess] for guess in guesses if guess in self._glued), "")

    def _masked(self, word: str) -> str:
        """k*ll: each mask stands for one letter, and at least half of the letters, two or more, are there."""
        there = sum(c.isalpha() for c in word)
        if not any(c in _MASKS for c in word) or there < max(2, len(word) / 2):
            return ""
        known = self._by_length.get(len(word), [])
        return next((k for k in known if all(c in _MASKS or c == other for c, other in zip(word, k, strict=True))), "")

    def _first_known(self, guesses: Iterable[str]) -> str:
        return next((guess for guess in guesses if len(guess) >= SHORTEST and guess in self._words), "")

    def _unspaced(self, letters: str) -> str:
        """What a run of single letters spells, empty where nothing."""
        if letters in self._words and len(letters) >= SHORTEST:
            return letters
        return self._glued.get(letters) or self._parted(letters) or self._leet(letters)

    def _parted(self, run: str) -> str:
        """The run as the fewest words that the rules know, one of them of SHORTEST letters at least; empty where there is no such way."""
        if not SHORTEST <= len(run) <= LONGEST_RUN:
            return ""
        best: list[list[str] | None] = [[]] + [None] * len(run)
        for end in range(1, len(run) + 1):
            for start in range(max(0, end - self._longest), end):
                before, word = best[start], run[start:end]
                if before is not None and word in self._words and (len(word) > 1 or word in "ia"):
                    now = best[end]
                    if now is None or len(before) + 1 < len(now):
                        best[end] = [*before, word]
        words = best[-1]
        return " ".join(words) if words and any(len(word) >= SHORTEST for word in words) else ""


def _few(ways: Iterable[Iterable[str]]) -> Iterable[str]:
    return ("".join(way) for way, _ in zip(product(*ways), range(MOST_GUESSES), strict=False))


def _without_gaps(folded: Folded, spelled: Callable[[str], str]) -> Folded:
    """The text with each run of single letters as what it spells, where it spells something."""
    pieces: list[str] = []
    starts: list[int] = []
    places: list[tuple[int, int]] = []
    breaks: list[int] = []
    length, last = 0, 0

    def keep(until: int) -> None:
        nonlocal length
        begin, end = bisect_left(folded.starts, last), bisect_left(folded.starts, until)
        starts.extend(length + start - last for start in folded.starts[begin:end])
        places.extend(folded.places[begin:end])
        breaks.extend(length + place - last for place in folded.breaks[bisect_left(folded.breaks, last) : bisect_left(folded.breaks, until)])
        pieces.append(folded.text[last:until])
        length += until - last

    for run in _SPACED.finditer(folded.text):
        if meant := spelled(re.sub(r"[\W_]", "", run[0])):
            keep(run.start())
            starts.append(length)
            places.append(folded.written(*run.span()))
            pieces.append(meant)
            length += len(meant)
            last = run.end()
    keep(len(folded.text))
    return Folded("".join(pieces), starts, places, breaks=breaks)

"""Whose words they are, and whether they are meant: what stands around the words of a rule in a folded text. English.

Negation follows the idea of NegEx (Chapman et al., 2001): a trigger shortly before the words, in the same clause. On the side of the person: a second
negation, a "not only", a "not yet" or a question why not, and the words count as said.
"""

import re
from collections.abc import Iterable
from enum import Enum

NEGATION_REACH = 2  # words that may stand between a negation and what it negates
DOUBLE_REACH = 5  # words between a negation and one before it that takes it back
SENTENCE_REACH = 300  # characters looked at on either side of a hit, so that a text without full stops costs no more than another
QUOTE_REACH = 1000
_SENTENCE_END = re.compile(r"[.!?…]+(?=[\s\"')]|$)|\n")
_CLAUSE = re.compile(r"[,;:()—–]|(?<!\w)(?:but|and|because|so|then)(?!\w)")
_I_AGAIN = re.compile(r"(?<!\w)(?:and|but|so|because) (?=(?:\w+ ){0,2}?(?:i|im|ill|id|ive)(?!\w))")
_NOT_NEGATING = frozenset("only just merely simply alone lie lying but and because if that so when while i im ive id ill".split())
# "… but now I do": what was denied holds now
_TAKEN_BACK = re.compile(
    r"(?<!\w)but (?:right )?(?:now|tonight|today|lately|these days|this time) (?:i (?:do|might|may|will|would|want|could|am going to|am not so sure|am not sure)|"
    r"im (?:going to|gonna|not so sure|not sure)|ill|id)(?!\w)"
)
# "never … in front of mum": the denial may be of the place or the way alone
_ONLY_NOT_SO = re.compile(
    r"\W{0,2}(?:(?:in front of|near|around|while|before|like this|like that|this way|that way|by \w+ing|with (?:a|the|my)|where|alone)(?!\w)|"
    r"(?:at|in|on) (?:home|work|school|public|here|my|this|our|a (?:hotel|car|public))(?!\w)|here(?!\w))"
)
_NOT_YET = re.compile(r"\W{0,3}(?:(?:just )?yet|until|till|unless|today|tonight|tomorrow|for now|right now|this time|this week)(?!\w)")
_WHY_NOT = re.compile(r"(?<!\w)(?:why|reasons?|how come|tell me|convince me)(?!\w)")
_FIRST = re.compile(r"i|im|ive|id|ill")
_RAISING = frozenset("that think thinking say said saying mean means believe feel claim claiming suppose".split())
_NEGATORS = frozenset(
    "not no never none nothing nobody cant cannot dont doesnt didnt wont wouldnt couldnt shouldnt isnt wasnt arent aint hardly barely without doubt "
    "unsure impossible false untrue lie lied lying".split()
)
_FIRST_PERSON = re.compile(r"(?<!\w)(?:i|im|ive|id|ill|me|my|mine|myself)(?!\w)")
_ATTRIBUTION = re.compile(
    r"(?<!\w)(?:said|says|say|saying|told|tells|tell|wrote|writes|sings|singing|sang|sung|cried|cries|shouted|shouts|screams|yells|whispers|whispered|"
    r"lyrics?|chorus|verse|song|track|line|novel|book|film|movie|play|poem|show|series|episode|scene|character|protagonist|narrator|villain|hero|heroine|"
    r"quote[sd]?|quoting|headline|titled|called|asked|asks|recalled|recalls|testified|according|posted|tweeted|commented|texted|read|reads|goes|phrase|"
    r"words?|expression|translation|means|patients?|clients?|callers?|students?)(?!\w)|"
    # of what a person may do with their own words too, only where it is somebody else who does it
    r"(?<!\w)(?:somebody|someone|anybody|anyone|people|kids|he|she|they|who|(?:a|an|the|one|his|her|our) \w+|resident|tenant|customer|player|user) "
    r"(?:(?:has|had|have|just|once|also) )?(?:scratched|carved|sprayed|painted|printed|types|typed|stated|states|chants|chanted|uses|remarked)(?!\w)"
)
_OWN_ATTRIBUTION = re.compile(
    r"(?<!\w)(?:i (?:just |have |had |once |then |finally |always |keep |kept |would |still |even |also |often |actually |literally )?(?:said|say|saying|told|"
    r"tell|wrote|write|texted|posted|screamed|whispered|whisper|think|thinking|thought|feel|typed|mumbled|answered|replied|admitted|googled|searched)|"
    r"my (?:\w+ )?(?:note|notes|diary|journal|letter|text|message|head|mind|thoughts|brain|heart|voice|status|post|answer|search history)|i mean it|"
    r"i meant it|voices?|me too|same here|so true|thats me|literally me|how i feel|describes me|sums me up|i relate|about me)(?!\w)"
)
_SOMEBODY_SAYS = re.compile(
    r"(?<!\w)(?!(?:i|we)(?!\w))\w+ (?:(?:just|then|always|once|also) )?(?:said|says|sang|sings|wrote|writes|cries|cried|screams|yells|shouts|goes|quote|"
    r"lyrics?|chorus|narrator|titled)(?: (?:that|to \w+|like))?[:,]?\s*[\"']?(?:(?:i|im|ill|id)(?: \w+){0,2} )?$"
)
_SINGLE_OPEN, _SINGLE_CLOSE = re.compile(r"(?<![\w'])'(?=\w)"), re.compile(r"(?<=[\w.!?,])'(?![\w'])")
_NOTES = re.compile("[♪♫♬🎵🎶🎤]+(?: [♪♫♬🎵🎶🎤]+)*")  # several in a row open or close together


class Speaker(Enum):
    """Whose words are they?"""

    WRITER = "the writer's own"
    OTHER = "somebody else's words"
    UNSURE = "perhaps somebody else's words"


class Negation(Enum):
    NONE = ""
    NEGATED = "negated"
    DOUBTED = "doubted"  # "I don't think I want to die"


def words(phrases: Iterable[str]) -> str:
    """A regular expression that matches any of the phrases at word boundaries, the longest first. The phrases must be folded."""
    longest_first = sorted(set(phrases), key=lambda phrase: (-len(phrase), phrase))
    return rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)"


def sentence(text: str, start: int, end: int) -> tuple[int, int]:
    """Where the sentence begins and ends that text[start:end] stands in, SENTENCE_REACH characters away at most."""
    begin, stop = max(0, start - SENTENCE_REACH), min(len(text), end + SENTENCE_REACH)
    for mark in _SENTENCE_END.finditer(text, begin, stop):
        if mark.end() <= start:
            begin = mark.end()
        elif mark.start() >= end:
            stop = mark.start()
            break
    return begin, stop


def own_clause(text: str, begin: int, start: int) -> int:
    """Where the clause begins in which the writer speaks up again ("… and tonight I …") before `start`; `begin` where there is none."""
    return max((found.end() for found in _I_AGAIN.finditer(text, begin, start)), default=begin)


def negation_of(phrases: Iterable[str]) -> re.Pattern[str]:
    """Matches at the end of what stands before a hit where one of the phrases may negate it: close by, with no comma between."""
    return re.compile(rf"(?P<negation>{words(phrases)})(?P<between>(?:\s+[\w-]+){{0,{NEGATION_REACH}}})\s*$")


def negated(negation: re.Pattern[str], text: str, begin: int, start: int, end: int, stop: int | None = None) -> Negation:
    """Whether text[start:end], in a sentence from `begin` to `stop`, is negated by what stands before it."""
    before = text[begin:start]
    found = negation.search(before)
    if not found:
        return Negation.NONE
    between = found["between"].split()
    # "I don't think I want to die", of a hit that begins after that "I"
    again = next((place for place, word in enumerate(between) if _FIRST.fullmatch(word)), None)
    raised = again is not None and [*found["negation"].split(), *between[:again]][-1] in _RAISING
    if again is not None and raised:
        del between[again]
    if _NOT_NEGATING.intersection(between) or _NOT_YET.match(text, end):
        return Negation.NONE
    clause = _CLAUSE.split(before[: found.start()])[-1]
    if _WHY_NOT.search(clause):
        return Negation.NONE
    earlier = clause.split()[-DOUBLE_REACH:]
    if earlier and earlier[0] in ("no", "nope", "nah"):  # an answer, no second negation: "no I won't …"
        earlier = earlier[1:]
    if _NEGATORS.intersection(earlier):
        return Negation.NONE
    first = re.split(r"\W", text[start:end], maxsplit=1)[0]
    if raised or _FIRST.fullmatch(first):  # "I want to die" is a clause of its own: "I won't come I want to die"
        return Negation.DOUBTED if raised or found["negation"].split()[-1] in _RAISING else Negation.NONE
    if not _NEGATORS.intersection(found["negation"].split()):  # "he", "instead of": no denial that could be taken back
        return Negation.NEGATED
    if _TAKEN_BACK.search(text, end, len(text) if stop is None else stop):
        return Negation.NONE
    return Negation.DOUBTED if _ONLY_NOT_SO.match(text, end) else Negation.NEGATED


def speaker(text: str, start: int, end: int, lines: str = "") -> Speaker:
    """Whose words text[start:end] are, by quotation marks and who is named around them, by notes of music, by a reply's mark (>). A quotation may go on
    over the lines of a paragraph of `text`; a reply's mark and notes hold for one line of `lines` (if not given, the text's own)."""
    lines = lines or text
    left = max(lines.rfind("\n", 0, start) + 1, start - QUOTE_REACH)
    right = lines.find("\n", end, end + QUOTE_REACH)
    right = min(len(lines), end + QUOTE_REACH) if right < 0 else right
    notes, closing = len(_NOTES.findall(lines, left, start)), _NOTES.search(lines, end, right)
    if notes % 2 and closing and lines[left - 1 : left] in ("", "\n"):  # where the line begins too far away nobody counted all notes
        return Speaker.OTHER
    if notes % 2 or (notes and closing) or lines.startswith((">", "&gt;"), left):
        return Speaker.UNSURE
    left = max(text.rfind("\n", 0, start) + 1, start - QUOTE_REACH)
    right = text.find("\n", end, end + QUOTE_REACH)
    right = min(len(text), end + QUOTE_REACH) if right < 0 else right
    outside = _outside(text, left, start, end, right)
    if outside is None:
        begin, _ = sentence(lines, start, end)
        return Speaker.UNSURE if _SOMEBODY_SAYS.search(text[max(begin, left) : start]) else Speaker.WRITER
    if not _ATTRIBUTION.search(outside) or _OWN_ATTRIBUTION.search(outside):
        return Speaker.WRITER
    return Speaker.UNSURE if _FIRST_PERSON.search(outside) else Speaker.OTHER


def _outside(text: str, left: int, start: int, end: int, right: int) -> str | None:
    """What stands outside the quotation that text[start:end] is in, between left and right; None where it is in none."""
    before, after = text[left:start], text[end:right]
    if before.count('"') % 2 and '"' in after:
        return " ".join([*before.split('"')[::2], *after.split('"')[1::2]])
    opened = [found.start() for found in _SINGLE_OPEN.finditer(text, left, start + 1)]  # with the letter after it, which it must see
    closed = _SINGLE_CLOSE.search(text, end, right)
    if opened and closed and not _SINGLE_CLOSE.search(text, opened[-1] + 1, start):
        return f"{text[left : opened[-1]]} {text[closed.end() : right]}"
    return None

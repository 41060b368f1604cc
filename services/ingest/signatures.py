"""Where a mail's signature begins: at its mark, at the writer's own name, or at a closing block of names and numbers."""

import re

_MARK = re.compile(r"^(-- ?|__|—)$")
_RULE = re.compile(r"^[-_=*]{4,}$")
_DEVICE = re.compile(
    r"^\s*(sent (from|via|with) my \w+( \w+){0,3} ?|sent from (mail|outlook|yahoo mail|proton ?mail)( for \w+| on \w+| mobile)?|sent with sparrow\b.*|get outlook for \w+"
    r"|von meinem \w+ gesendet|envoyé de mon \w+|enviado desde mi \w+|inviato da(l mio)? \w+|отправлено (из|с) .{3,40}|via mobile)\.?\s*$",
    re.I,
)
_BARE = re.compile(r"^\W*(thanks|cheers|best|take care|all the best|thank you|saludos?)$", re.I)  # without a comma it may as well be a heading
_CLOSE = re.compile(
    r"^\W*((best|kind|warm(est)?|many)?\s*(regards|wishes|thanks)|thanks( a lot| again| in advance)?|thank you( very much| again)?|cheers|sincerely( yours)?"
    r"|yours( truly| sincerely| faithfully)?|all the best|best|take care|mit freundlichen grüßen|(viele|beste|liebe|herzliche) grüße|mfg|cordialement|bien à vous"
    r"|(un )?saludos?( cordiales)?|atentamente|cordiali saluti|met vriendelijke groet(en)?|с уважением|atenciosamente|pozdrawiam)\W*$",
    re.I,
)
_CONTACT = re.compile(
    r"\S+@\S+\.\w|www\.\S+\.\w|https?://|(\+|\b00|\()\d[\d ().-]{6,}|\b\d{3}[-. ]\d{3,4}[-. ]\d{3,4}\b|^\W*(t|f|tel|fax|phone|mobile|skype)\.?\s*:",
    re.I,
)
_PHONE_OR_MAIL = re.compile(r"\S+@\S+\.\w|(\+|\b00|\()\d[\d ().-]{6,}|\b\d{3}[-. ]\d{3,4}[-. ]\d{3,4}\b")
_NAME = re.compile(r"^\W{0,3}(?:[^\W\d_][\w.'’-]*,?\s*){1,5}$")
_DEGREE = re.compile(r",?\s*(Ph\.?D|M\.?D|Dr)\.?")
LAST_LINES = 30  # in which a signature without a mark is looked for
_BLOCK = 14  # lines that a signature has at most
_SHORT = 60  # characters of each of its lines, where it has no mark
_LINE = 80  # characters of each below a mark


def signature_at(lines: list[str], sender: str = "") -> int:
    """The index of the signature's first line, or the count of lines where there is none. A mail that is nothing else keeps its words: see `cut`."""
    end = _end(lines)
    device = next((index for index, line in enumerate(lines[:end]) if _DEVICE.match(line)), end)
    signed = _end(lines[:device])
    marks = [index for index, line in enumerate(lines[:signed]) if _MARK.match(line)]
    if len(marks) == 1 and _is_short(lines[marks[0] + 1 : signed]):  # several part the stories of a newsletter
        return _with_name(lines, marks[0], sender)
    if device < end:
        return _with_name(lines, signed, sender)
    first = max(1, end - _BLOCK)
    for index in range(max(1, end - LAST_LINES), end):
        rest = [line for line in lines[index:end] if line.strip()]
        if not all(len(line) <= _SHORT for line in rest):
            continue
        if _RULE.match(lines[index]) and len(rest) >= 2 and sum(bool(_CONTACT.search(line)) for line in rest) >= 2:
            return index
        if index < first:
            continue
        if (
            _CLOSE.match(lines[index])
            and 2 <= len(rest) <= 8
            and _NAME.match(rest[1])
            and (not _BARE.match(lines[index]) or _is_sender(rest[1], sender))
        ):
            return index
        starts_block = not lines[index - 1].strip()
        if _is_sender(lines[index], sender) and (starts_block or len(rest) <= 3):
            return index
        if starts_block and _is_card(lines[index:end]):
            return index
    return end if end and any(map(_MARK.match, lines[end:])) else len(lines)


def _end(lines: list[str]) -> int:
    """The count of lines without the blank ones and the marks that end them."""
    end = len(lines)
    while end and (not lines[end - 1].strip() or _MARK.match(lines[end - 1])):
        end -= 1
    return end


def _is_short(lines: list[str]) -> bool:
    said = [line for line in lines if line.strip()]
    return len(said) <= _BLOCK and all(len(line) <= _LINE for line in said)


def _with_name(lines: list[str], index: int, sender: str) -> int:
    """A mark, and the writer's name above it."""
    before = index
    while before and not lines[before - 1].strip():
        before -= 1
    return before - 1 if before > 1 and _is_sender(lines[before - 1], sender) else index


def _is_card(lines: list[str]) -> bool:
    """Whether lines without a gap begin with a name and hold a telephone number or mail address, as a business card does."""
    if len(lines) < 3 or not all(line.strip() for line in lines) or not _NAME.match(_DEGREE.sub("", lines[0])):
        return False
    sentences = any(line.rstrip().endswith((".", "!", "?", ":")) for line in lines[1:])
    return not sentences and any(_PHONE_OR_MAIL.search(line) for line in lines[1:])


def _is_sender(line: str, sender: str) -> bool:
    """Whether a line is the writer's name, whole or its first part, and nothing else."""
    said = re.findall(r"[^\W\d_]{2,}", line.casefold())
    names = re.findall(r"[^\W\d_]{2,}", sender.casefold())
    return bool(said) and said[0] in names[:1] and set(said) <= set(names) and len(line) <= _SHORT and not line.rstrip().endswith(("?", ":", ";"))

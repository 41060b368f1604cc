"""What a mail carries beside its news: quoted replies, the signature, the unsubscribe footer. Cut, unless nothing else would be left."""

import re

_REPLY = re.compile(
    r"^\s*(on\b.{4,200}\bwrote|le\b.{4,200}\ba écrit|am\b.{4,200}\bschrieb.{0,100}|el\b.{4,200}\bescribió|il\b.{4,200}\bha scritto"
    r"|op\b.{4,200}\bschreef.{0,100}|em\b.{4,200}\bescreveu|\d{4}[-/.]\d\d?[-/.]\d\d?.{0,80}<[^<>\s]+@[^<>\s]+>)\s*:\s*$",
    re.I | re.S,
)
_ORIGINAL = re.compile(
    r"^\s*[-_*]{2,}\s*(original message|original appointment|ursprüngliche nachricht|message d'origine|mensaje original|messaggio originale"
    r"|reply message|reply separator|oorspronkelijk bericht)\s*[-_*]{2,}\s*$",
    re.I,
)
_FROM = re.compile(r"^\s*\*?(from|von|de|da|van|från|fra)\s*:\*?\s+\S", re.I)
_SENT = re.compile(r"^\s*\*?(sent|date|gesendet|datum|envoyé|date|enviado|inviato|verzonden|skickat)\s*:\*?\s+\S", re.I)
_SIGNATURE = re.compile(r"^(-- ?|__|—)$")
_DEVICE = re.compile(
    r"^\s*(sent from my (\w+ ?){1,4}|sent from (mail|outlook) for \w+|get outlook for \w+|von meinem \w+ gesendet|envoyé de mon \w+)\.?\s*$",
    re.I,
)
_FOOTER = re.compile(
    r"\bunsubscribe\b|\bmanage (your )?(subscription|preferences|email)|\b(update|change|edit) (your )?(\w+ )?(email )?preferences\b|\bopt[- ]?out\b"
    r"|\byou('re| are)? (are )?(receiv(ed|ing)|getting|got) this (e-?mail|message|newsletter)\b|\bthis e-?mail was sent to\b|\bno longer (wish|want) to receive\b"
    r"|\babbestellen\b|\babmelden\b|\bse désabonner\b|\bdésinscri|\bdarse de baja\b|\bcancellati\b|\bafmelden\b",
    re.I,
)
_BROWSER = re.compile(
    r"(view|read|open|see) (this|it|the) ?(e-?mail|message|newsletter|issue)? ?(online|in (your|a|the) (web )?browser)|trouble (viewing|reading) this",
    re.I,
)
_ROUNDS = 20  # replies to replies that are looked through
FOOTER_LINES = 30  # a footer is looked for in the last lines only, so that news about unsubscribing stays


def cut(text: str) -> str:
    """The mail's own words."""
    lines = text.split("\n")
    lines = _or_all(_without_quotes(lines), lines)
    lines = _or_all(_without_signature(lines), lines)
    lines = _or_all(_without_footer(lines), lines)
    return "\n".join(lines).strip()


def _or_all(kept: list[str], lines: list[str]) -> list[str]:
    return kept if any(line.strip() for line in kept) else lines


def _without_quotes(lines: list[str], depth: int = 0) -> list[str]:
    for index, line in enumerate(lines):
        if _ORIGINAL.match(line) or (_FROM.match(line) and any(_SENT.match(after) for after in lines[index + 1 : index + 4])):
            return _unquoted(lines[:index] if any(before.strip() for before in lines[:index]) else lines)
        if taken := _reply_header(lines, index):
            before, after = _unquoted(lines[:index]), lines[index + taken :]
            if any(rest.startswith(">") for rest in after):
                # answers below or between the quotes: what is not quoted is the writer's own
                own = _unquoted(after)
                return before + (_without_quotes(own, depth + 1) if depth < _ROUNDS else own)
            return before if any(rest.strip() for rest in before) else lines
    return _unquoted(lines)


def _reply_header(lines: list[str], index: int) -> int:
    """How many lines the "On …, … wrote:" at `index` takes: 0 (it is none), 1, or 2 where the mailer broke it."""
    for count in (1, 2):
        joined = " ".join(lines[index : index + count])
        if joined.rstrip().endswith(":") and len(joined) < 300 and not joined.startswith(">") and _REPLY.match(joined):
            return count
    return 0


def _unquoted(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.lstrip().startswith(">")]


def _without_signature(lines: list[str]) -> list[str]:
    for index, line in enumerate(lines):
        if _DEVICE.match(line) or (_SIGNATURE.match(line) and len(lines) - index <= FOOTER_LINES):
            return lines[:index]
    return lines


def _without_footer(lines: list[str]) -> list[str]:
    lines = [line for line in lines if not (len(line) < 160 and _BROWSER.search(line))]
    start = max(len(lines) - FOOTER_LINES, len(lines) // 2)
    for index in range(start, len(lines)):
        if len(lines[index]) < 500 and _FOOTER.search(lines[index]):
            return lines[:index]
    return lines

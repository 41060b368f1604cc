"""What a mail carries beside its news: quoted replies, the signature, the unsubscribe footer. Cut, unless nothing else would be left."""

import re

from services.ingest.signatures import signature_at

_REPLY = re.compile(
    r"^\s*(on\b.{4,200}\bwrote|le\b.{4,200}\ba écrit|am\b.{4,200}\bschrieb.{0,100}|el\b.{4,200}\bescribió|il\b.{4,200}\bha scritto"
    r"|op\b.{4,200}\bschreef.{0,100}|em\b.{4,200}\bescreveu|\d{4}[-/.]\d\d?[-/.]\d\d?.{0,80}<[^<>\s]+@[^<>\s]+>"
    r"|(\w{2,12}[.,]+ ?)?\d{1,2}[./ ](\d{1,2}|\w{3,10})\.?[./ ]\d{2,4}\b.{0,60}\d:\d\d.{0,150}(<\s*[^<>\s]+@[^<>\s]+\s*>|wrote|написал\(?а?\)?|пишет|a écrit|schrieb).{0,20}"
    r"|w dniu\b.{4,200}\bpisze|den\b.{4,200}\b(skrev|skrev följande)|\S+@\S+ \(.{1,60}\) writes|in article <.{4,200}\bwrites)\s*:\s*$",
    re.I | re.S,
)
_ORIGINAL = re.compile(
    r"^\s*[-_*]{2,}\s*(original message|original appointment|ursprüngliche nachricht|message d'origine|mensaje original|messaggio originale"
    r"|reply message|reply separator|oorspronkelijk bericht)\s*[-_*]{2,}\s*$",
    re.I,
)
_FROM = re.compile(r"^\s*\*?(from|von|de|da|van|från|fra|от)\s*:\*?\s+\S", re.I)
_FIELD = re.compile(
    r"^\s*\*?(from|sent|date|to|cc|subject|reply-to|von|gesendet|an|datum|betreff|de|envoyé|à|objet|enviado|para|asunto|da|inviato|oggetto"
    r"|от|кому|дата|отправлено|тема|van|verzonden|aan|onderwerp)\s*:\*?(\s+\S|\s*$)",
    re.I,
)
_SENT = re.compile(r"^\s*\*?(sent|date|gesendet|datum|envoyé|date|enviado|inviato|verzonden|skickat|отправлено|дата)\s*:\*?\s+\S", re.I)
_FOOTER = re.compile(
    r"\bunsubscribe\b|\bmanage (your )?(subscription|preferences|email)|\b(update|change|edit) (your )?(\w+ )?(email )?preferences\b|\bopt[- ]?out\b"
    r"|\byou('re| are)? (are )?(receiv(ed|ing)|getting|got) this (e-?mail|message|newsletter)\b|\bthis e-?mail was sent to\b|\bno longer (wish|want) to receive\b"
    r"|\bto (stop receiving|be removed from)\b|\bremove (yourself|me) from (this|the|our) (mailing )?list\b|\bsubscription (settings|preferences)\b"
    r"|\bthis (e-?mail|message) (and any|may contain|contains).{0,80}\b(confidential|privileged)\b|\babbestellen\b|\babmelden\b|\bse désabonner\b|\bdésinscri|\bdarse de baja\b|\bcancellati\b|\bafmelden\b",
    re.I,
)
_RULE = re.compile(r"^[-_=*]{3,}$")
_BROWSER = re.compile(
    r"(view|read|open|see) (this|it|the) ?(e-?mail|message|newsletter|issue)? ?(online|in (your|a|the) (web )?browser)|trouble (viewing|reading) this",
    re.I,
)
_ROUNDS = 20  # replies to replies that are looked through
FOOTER_LINES = 30  # a footer is looked for in the last lines only, so that news about unsubscribing stays


def cut(text: str, sender: str = "") -> str:
    """The mail's own words. `sender` is the writer's name, by which a signature without a mark is found."""
    lines = text.split("\n")
    lines = _or_all(_without_quotes(lines), lines)
    lines = _or_all(_without_footer(lines), lines)
    lines = _or_all(lines[: signature_at(lines, sender)], lines)
    return "\n".join(lines).strip()


def _or_all(kept: list[str], lines: list[str]) -> list[str]:
    return kept if any(line.strip() for line in kept) else lines


def _without_quotes(lines: list[str], depth: int = 0) -> list[str]:
    for index, line in enumerate(lines):
        if _ORIGINAL.match(line) or _is_head(lines, index):
            return _unquoted(lines[:index] if any(before.strip() for before in lines[:index]) else lines)
        if taken := _reply_header(lines, index):
            before, after = _unquoted(lines[:index]), lines[index + taken :]
            if any(rest.startswith(">") for rest in after):
                # answers below or between the quotes: what is not quoted is the writer's own
                own = _unquoted(after)
                return before + (_without_quotes(own, depth + 1) if depth < _ROUNDS else own)
            return before if any(rest.strip() for rest in before) else lines
    return _unquoted(lines)


def _is_head(lines: list[str], index: int) -> bool:
    """Whether the head of a quoted mail begins here: From and Sent near one another, or three of the usual fields in a row."""
    if not _FIELD.match(lines[index]):
        return False
    near = [line for line in lines[index : index + 7] if line.strip()]
    if _FROM.match(near[0]) and any(_SENT.match(after) for after in near[1:4]):
        return True
    fields = 0
    for line in near:
        if not _FIELD.match(line):
            break
        fields += 1
    return fields >= 3 and any(_FROM.match(line) for line in near[:fields])


def _reply_header(lines: list[str], index: int, depth: int = 0) -> int:
    """How many lines the "On …, … wrote:" at `index` takes: 0 (it is none), 1, or 2 or 3 where the mailer broke it."""
    if not any(line.rstrip().endswith(":") for line in lines[index : index + 3]):
        return 0
    for count in (1, 2, 3):
        joined = " ".join(lines[index : index + count])
        if joined.rstrip().endswith(":") and len(joined) < 300 and not joined.startswith(">") and _REPLY.match(joined):
            # where the next line is one by itself, the line before it is the writer's own
            return 0 if count > 1 and depth < 3 and _reply_header(lines, index + 1, depth + 1) else count
    return 0


def _unquoted(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.lstrip().startswith(">")]


def _without_footer(lines: list[str]) -> list[str]:
    """Without what list servers and senders put below: from the first line that speaks of the subscription on, and without the rule above it."""
    lines = [line for line in lines if not (len(line) < 160 and _BROWSER.search(line))]
    start = max(len(lines) - FOOTER_LINES, len(lines) // 2)
    for index in range(start, len(lines)):
        if (len(lines[index]) < 500 and _FOOTER.search(lines[index])) or (
            _RULE.match(lines[index]) and "mailing list" in " ".join(lines[index + 1 : index + 3])
        ):
            end = index
            while end and (not lines[end - 1].strip() or _RULE.match(lines[end - 1])):
                end -= 1
            return lines[:end]
    return lines

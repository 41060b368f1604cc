"""What a mail carries beside its news: quoted replies, the signature, the unsubscribe footer. Cut, unless nothing else would be left.

A forwarded mail is news: of it only the block of headers goes.
"""

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
    r"|от|кому|дата|отправлено|тема|van|verzonden|aan|onderwerp|assunto|data|från|till|skickat|ämne|fra|til|sendt|emne)\s*:\*?(\s+\S|\s*$)",
    re.I,
)
_SENT = re.compile(r"^\s*\*?(sent|date|gesendet|datum|envoyé|date|enviado|inviato|verzonden|skickat|отправлено|дата)\s*:\*?\s+\S", re.I)
_SENT_WORD = re.compile(r"^\s*\*?(sent|gesendet|envoyé|enviado|inviato|verzonden|skickat|отправлено)\s*:", re.I)
_TO = re.compile(r"^\s*\*?(to|an|à|para|aan|кому)\s*:", re.I)
_SUBJECT = re.compile(r"^\s*\*?(?:subject|betreff|objet|asunto|oggetto|assunto|onderwerp|тема|ämne|emne)\s*:\*?\s*(.*)", re.I)
_FORWARDED = (
    r"(?:begin |start of |anfang der |début du |inicio del |inizio (?:del )?|início da )?(?:forwarded (?:message|mail)|forwarded by .{1,100}"
    r"|weitergeleitete[nr]? (?:nachricht|e-?mail)|message (?:transféré|réexpédié)|mensaje reenviado|messaggio inoltrato|doorgestuurd bericht"
    r"|mensagem (?:re)?encaminhada|пере(?:сылаемое|сланное) сообщение|przekazana wiadomość|vidarebefordrat meddelande)"
)
_MARKER = re.compile(rf"^\s*(?:[-_*=]{{2,}}\s*{_FORWARDED}\s*:?\s*[-_*=]*|{_FORWARDED}\s*:)\s*$", re.I)
_OPENING = re.compile(rf"[\s\-_*=]{{0,60}}{_FORWARDED}", re.I)
_LISTS = r"^\s*(?:\[[^\[\]]{1,60}\]\s*)*"  # names of lists before a subject
_FORWARD = re.compile(rf"{_LISTS}(?:fwd?|fw|wg|tr|rv|enc|vb|pd|doorst)\s*:", re.I)
_ANSWER = re.compile(rf"{_LISTS}(?:re|aw|antw|sv|odp|ynt)\s*(?:\[\d+\]|\^\d+)?\s*:", re.I)
_PROMPT = ">>> "  # of Python
# Words to the reader about the subscription; and words about leaving one, which news has too.
_TO_READER = (
    r"\bmanage (?:your )?(?:subscription|preferences|email)|\b(?:update|change|edit) (?:your )?(?:\w+ )?(?:email )?preferences\b"
    r"|\byou(?:'re| are|’re)? (?:are )?(?:receiv(?:ed|ing)|getting|got) this (?:e-?mail|message|newsletter)\b|\bthis e-?mail was sent to\b"
    r"|\bno longer (?:wish|want) to receive\b|\bto (?:stop receiving|be removed from|unsubscribe)\b|\byou can unsubscribe\b"
    r"|\bunsubscribe (?:here|from (?:this|these|our))\b|\bremove (?:yourself|me) from (?:this|the|our) (?:mailing )?list\b"
)
_LEAVING = (
    r"\bunsubscribe\b|\bopt[- ]?out\b|\bsubscription (?:settings|preferences)\b|\babbestellen\b|\babmelden\b|\bse désabonner\b|\bdésinscri\w*"
    r"|\bdarse de baja\b|\bcancellati\b|\bafmelden\b"
)
_SPOKEN = re.compile(_TO_READER, re.I)
_FOOTER = re.compile(f"{_TO_READER}|{_LEAVING}", re.I)
_BESIDE = re.compile(
    r"\bmailing address\b|©|\ball rights reserved\b|\bprivacy policy\b|\bterms of (?:use|service)\b|\baddress book\b|\bwant to change how you receive\b"
    r"|^\W*preferences\W*$|\bforwarded this (?:e-?mail|message|newsletter)\b",
    re.I,
)
_NOTICE = re.compile(r"\bthis (?:e-?mail|message) (?:and any|may contain|contains).{0,80}\b(?:confidential|privileged)\b", re.I)
_COMMAND = re.compile(
    rf"^\W*(?:(?:click (?:here )?|tap )?to )?(?:{_TO_READER}|{_LEAVING})"
    r"(?: (?:here|now|instantly|at any time|me|hier|ici|aquí|preferences|from (?:this|these|our|all) [\w-]{1,20}(?: [\w-]{1,20})?))?\W*$",
    re.I,
)
_LINK = re.compile(r"(?:https?://|www\.)\S+|\S+@\S+\.\w+", re.I)
_MANAGES = re.compile(r"@|unsub|opt-?out|prefer|subscri|list|manage|leave|remove|profile|options|abmeld|abbestell|desinscri", re.I)
_RULE = re.compile(r"^[-_=*]{3,}$")
_BROWSER = re.compile(
    r"(view|read|open|see) (this|it|the) ?(e-?mail|message|newsletter|issue)? ?(online|in (your|a|the) (web )?browser)|trouble (viewing|reading) this",
    re.I,
)
_ROUNDS = 20  # replies to replies, and forwards of forwards, that are looked through
FOOTER_LINES = 30  # a footer is looked for in the last lines only, so that news about unsubscribing stays
_FOOTER_LINE, _MARKER_LINE = 500, 300  # characters; a longer line is none


def cut(text: str, sender: str = "", subject: str = "") -> str:
    """The mail's own words and those that it forwards.

    `sender` is the writer's name, by which a signature without a mark is found. By the `subject` a forward without a marker is told from a reply, and
    a quote without an attribution from a line that begins with ">".
    """
    rest = text.split("\n")
    kept: list[str] = []
    for _ in range(_ROUNDS):
        at, mail = _forwarded(rest, is_forward(subject))
        if at is None:
            break
        note = _without_footer(_above(rest[:at]))
        kept += [*note[: signature_at(note, sender)], ""]
        taken = _head_length(mail)
        subject = next((match[1] for line in mail[:taken] if (match := _SUBJECT.match(line))), "")
        rest, sender = mail[taken:], ""
    rest = _or_all(_without_quotes(rest, bool(_ANSWER.match(subject))), rest)
    rest = _or_all(_without_footer(rest), rest)
    rest = _or_all(rest[: signature_at(rest, sender)], rest)
    return re.sub(r"\n{3,}", "\n\n", "\n".join([*kept, *rest])).strip() or text.strip()


def is_forward(subject: str) -> bool:
    """Whether a subject says that the mail forwards another."""
    return bool(_FORWARD.match(subject))


def opens_forward(text: str) -> bool:
    """Whether a text begins with the words by which mail programs mark a forwarded mail."""
    return bool(_OPENING.match(text[:200]))


def opens_with_head(text: str) -> bool:
    """Whether a text begins with the From line of a quoted mail."""
    return bool(_FROM.match(text[:200]))


def _or_all(kept: list[str], lines: list[str]) -> list[str]:
    return kept if any(line.strip() for line in kept) else lines


def _forwarded(lines: list[str], told: bool) -> tuple[int | None, list[str]]:
    """Where a forwarded mail begins, and its lines from its head on. Without a marker the first quoted mail is one only where the subject `told` so."""
    for index, line in enumerate(lines):
        taken = _reply_header(lines, index)
        original = _ORIGINAL.match(line)
        if (len(line) < _MARKER_LINE and _MARKER.match(line)) or (told and (taken or original)):
            return index, _lifted(lines[index + (taken or 1) :])
        if taken or original or _is_head(lines, index):
            return (index, lines[index:]) if told else (None, [])  # what a reply quotes is quoted, forwarded or not
    return None, []


def _lifted(lines: list[str]) -> list[str]:
    """A forwarded mail without the mark of a quote that some programs put before each of its lines."""
    first = next((line for line in lines if line.strip()), "")
    return [re.sub(r"^> ?", "", line) for line in lines] if first.startswith(">") else lines


def _head_length(lines: list[str]) -> int:
    """How many lines the headers of a forwarded mail take; their lines stand together, or each by itself."""
    end = 0
    while end < len(lines) and not lines[end].strip():
        end += 1
    first, spaced = end, False
    while end < len(lines):
        line, before = lines[end].strip(), lines[end - 1].strip() if end > first else ""
        if not line:
            if end > first + 1 and not spaced:
                break
            spaced = True
        elif not (_FIELD.match(line) or (before.endswith((",", ";")) and "@" in line)):
            break
        end += 1
    return end if end > first else 0


def _above(lines: list[str]) -> list[str]:
    """Lines without the blank lines and rules that end them."""
    end = len(lines)
    while end and (not lines[end - 1].strip() or _RULE.match(lines[end - 1])):
        end -= 1
    return lines[:end]


def _without_quotes(lines: list[str], reply: bool, depth: int = 0) -> list[str]:
    for index, line in enumerate(lines):
        if _ORIGINAL.match(line) or _is_head(lines, index):
            return _unquoted(_above(lines[:index]) or lines)
        if taken := _reply_header(lines, index):
            before, after = _unquoted(lines[:index]), lines[index + taken :]
            if any(rest.startswith(">") for rest in after):
                # answers below or between the quotes: what is not quoted is the writer's own
                own = _unquoted(after)
                return before + (_without_quotes(own, reply, depth + 1) if depth < _ROUNDS else own)
            return before if any(rest.strip() for rest in before) else lines
    return _unquoted(lines) if reply or _quotes_mail(lines) else lines


def _quotes_mail(lines: list[str]) -> bool:
    """Whether what stands behind ">" says whose mail it is."""
    quoted = [line.lstrip("> ") for line in lines if line.startswith(">")]
    return any(_reply_header(quoted, index) or _is_head(quoted, index) for index in range(len(quoted)))


def _is_head(lines: list[str], index: int) -> bool:
    """Whether the head of a quoted mail begins here: From and Sent near one another, or three of the usual fields in a row; and with what only a mail
    has, for a timetable has From, To and Date too: an address, a subject, or Sent and To."""
    if not _FIELD.match(lines[index]):
        return False
    near = [line for line in lines[index : index + 7] if line.strip()]
    fields = 0
    for line in near:
        if not _FIELD.match(line):
            break
        fields += 1
    writer = next((line for line in near[: max(1, fields)] if _FROM.match(line)), "")
    dated = _FROM.match(near[0]) and any(_SENT.match(after) for after in near[1:4])
    if not writer or not (dated or fields >= 3):
        return False
    return "@" in writer or any(map(_SUBJECT.match, near)) or (any(map(_SENT_WORD.match, near)) and any(map(_TO.match, near)))


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
    """Lines without the quoted ones. Lines after ">>> " that stand by themselves are no quote of a quote, but Python."""
    kept: list[str] = []
    block: list[str] = []
    for line in [*lines, ""]:
        if line.lstrip().startswith(">"):
            block.append(line)
            continue
        kept += block if all(quoted.startswith(_PROMPT) for quoted in block) else []
        kept.append(line)
        block = []
    return kept[:-1]


def _without_footer(lines: list[str]) -> list[str]:
    """Without what list servers and senders put below: from the first line that speaks of the subscription on, and without the rule above it."""
    lines = [line for line in lines if not (len(line) < 160 and _BROWSER.search(line))]
    start = max(len(lines) - FOOTER_LINES, len(lines) // 2)
    for index in range(start, len(lines)):
        if _is_footer(lines, index) or (_RULE.match(lines[index]) and "mailing list" in " ".join(lines[index + 1 : index + 3])):
            return _above(lines[:index])
    return lines


def _is_footer(lines: list[str], index: int) -> bool:
    """Whether a footer begins here. Words about leaving a list are in the news too: they need a command, an address to leave it by, or the like below
    them down to the end."""
    line = lines[index]
    if len(line) >= _FOOTER_LINE or not (_FOOTER.search(line) or _NOTICE.search(line)):
        return False
    if _NOTICE.search(line) or any(map(_COMMAND.match, re.split(r"[|·•]|(?<=[.!?]) ", _LINK.sub("", line)))):
        return True
    below = [after[:_FOOTER_LINE] for after in lines[index + 1 :] if after.strip()]
    here = f"{line} {below[0]}" if below and not _LINK.sub("", below[0]).strip(" <>()[]") else line
    if any(_SPOKEN.search(line) or _MANAGES.search(link) for link in _LINK.findall(here)):
        return True
    such = [bool(_FOOTER.search(after) or _BESIDE.search(after)) for after in below]
    said = sum(1 for _ in _FOOTER.finditer(line))
    return said + sum(such) >= 2 and (said >= 2 or such[0]) and 3 * (1 + sum(such)) >= 1 + len(such)

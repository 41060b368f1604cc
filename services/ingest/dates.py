"""Dates as feeds write them: ISO 8601, RFC 5322 and its relatives, with zones by name and months in the languages of Europe and East Asia.

A date that names no zone, or one that nobody knows, counts as UTC. What can be read in two ways (01/02/2024) is not read.
"""

import re
from datetime import UTC, datetime, timedelta

_MOST = 100  # characters: no date has more

# Minutes east of Greenwich. Where a name is used twice, the one that feeds bear more: IST in India, BST in Britain, CST in North America (RFC 5322, 4.3).
_ZONES = {
    name: int(hours * 60)
    for hours, names in {
        -10: "hst",
        -9: "akst",
        -8: "pst pt akdt",
        -7: "mst mt pdt",
        -6: "cst ct mdt",
        -5: "est et cdt",
        -4: "ast at edt clt",
        -3.5: "nst",
        -3: "adt brt art",
        -2.5: "ndt",
        0: "ut utc gmt z wet",
        1: "cet met mez bst west wat",
        2: "cest mest mesz eet sast cat",
        3: "msk eest trt eat",
        3.5: "irst",
        4: "msd gst",
        5: "pkt",
        5.5: "ist",
        5.75: "npt",
        7: "ict wib",
        8: "hkt sgt awst pht",
        9: "jst kst",
        9.5: "acst",
        10: "aest",
        10.5: "acdt",
        11: "aedt",
        12: "nzst",
        13: "nzdt",
    }.items()
    for name in names.split()
}
# The first letters of the months' names that tell them apart, in English, German, French, Spanish, Portuguese, Italian, Dutch, Swedish, Danish, Norwegian,
# Polish, Czech, Russian and Ukrainian, longest first where one begins another.
_MONTHS = tuple(
    (start, month)
    for month, names in enumerate(
        (
            "jan jän ene gen janv sty led янв січ",
            "feb fév fev févr úno uno luty lut фев лют",
            "mar mär mrz maa bře bre март марта мар бер",
            "apr abr avr kwi dub апр кві квіт",
            "may mai mei maj mag máj kvě kve май мая тра",
            "jun juin giu cze červn cerv июн чер",
            "jul juil lug lip červe июл лип",
            "aug aoû aou ago sie srp авг сер",
            "sep set wrz zář zar сен вер",
            "oct okt out ott paź paz říj rij окт жов",
            "nov nob lis ноя",
            "dec dez déc dic gru pro дек гру",
        ),
        1,
    )
    for start in names.split()
)
_WEEKDAY = r"(?:[^\W\d_]{2,14}(?:[.,]+\s*|\s+))?"
_TIME = r"(?:\s*,?\s*(?:at|um|à|alle|kl\.?)?\s*(?P<h>\d{1,2})[:.h](?P<i>\d{2})(?:[:.](?P<s>\d{2})(?:[.,]\d{1,9})?)?\s*(?P<half>[ap]\.?m\b\.?)?)?"
_ZONE = r"\s*(?P<zone>[A-Za-z/_]{1,30})?\s*(?P<shift>[+-]\d{1,2}(?::?\d{2})?)?\s*(?:[A-Za-z]{1,5}|\([^()]*\))?"
_AFTER = _TIME + _ZONE
_DAY, _MONTH, _YEAR = r"(?P<d>\d{1,2})(?:st|nd|rd|th|er|\.|º)?", r"(?P<name>[^\W\d_]{3,12})\.?", r"(?P<y>\d{4}|\d{2})"
_SHAPES = tuple(
    re.compile(shape, re.I)
    for shape in (
        r"(?P<y>\d{4})(?P<sep>[-/.])(?P<m>\d{1,2})(?P=sep)(?P<d>\d{1,2})(?:T(?=\d))?" + _AFTER,
        r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?:T?(?P<h>\d{2})(?P<i>\d{2})(?P<s>\d{2})?)?(?P<half>(?!))?" + _ZONE,
        r"(?P<y>\d{4})\s*年\s*(?P<m>\d{1,2})\s*月\s*(?P<d>\d{1,2})\s*日?(?:\s*[(（][^()]{1,3}[)）])?(?P<noon>\s*(?:上午|下午|午前|午後))?" + _AFTER,
        r"(?P<d>\d{1,2})\.\s?(?P<m>\d{1,2})\.\s?(?P<y>\d{4})" + _AFTER,
        rf"{_WEEKDAY}{_DAY}[\s-]+(?:de\s+|of\s+)?{_MONTH},?[\s-]+(?:de\s+|del\s+)?{_YEAR}(?:\s*г\.)?" + _AFTER,
        rf"{_WEEKDAY}{_MONTH}[\s-]+{_DAY},?[\s-]+(?P<y>\d{{4}})" + _AFTER,
        rf"{_WEEKDAY}{_MONTH}\s+{_DAY}(?=\s+\d{{1,2}}:)" + _TIME + r"(?:\s+(?P<zone>[A-Za-z]{1,5}))?(?P<shift>(?!))?\s+(?P<y>\d{4})",  # C's asctime
    )
)


def read_date(text: str) -> datetime | None:
    """The moment in UTC; None for what is no date."""
    text = " ".join(text[: 2 * _MOST].replace("\u2212", "-").split())
    if not text or len(text) > _MOST:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # not as Python writes ISO 8601: one of the shapes
    for shape in _SHAPES:
        if (match := shape.fullmatch(text)) and (moment := _moment(match.groupdict())):
            return moment
    return None


def _moment(given: dict[str, str | None]) -> datetime | None:
    month = int(given["m"] or 0) if "m" in given else _month(given["name"] or "")
    year = int(given["y"] or 0)
    if len(given["y"] or "") == 2:
        year += 2000 if year < 50 else 1900  # RFC 5322, 4.3
    hour, minute, second = int(given["h"] or 0), int(given["i"] or 0), min(59, int(given["s"] or 0))  # 60: a leap second
    half = (given.get("half") or given.get("noon") or "").strip().lower()
    if half and 1 <= hour <= 12:
        hour = hour % 12 + (12 if half.startswith("p") or half in ("下午", "午後") else 0)
    try:
        day = datetime(year, month, int(given["d"] or 0), tzinfo=UTC)
        return day + timedelta(hours=hour, minutes=minute, seconds=second) - _shift(given) if hour <= 24 and minute < 60 else None
    except (ValueError, OverflowError):
        return None


def _month(name: str) -> int:
    name = name.casefold()
    return max((len(start), month) for start, month in (*_MONTHS, ("", 0)) if name.startswith(start))[1]


def _shift(given: dict[str, str | None]) -> timedelta:
    """How far the zone is ahead of UTC."""
    if shift := given["shift"]:
        digits = shift[1:].replace(":", "")
        hours, minutes = (int(digits), 0) if len(digits) <= 2 else (int(digits[:-2]), int(digits[-2:]))
        return (-1 if shift[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes)
    return timedelta(minutes=_ZONES.get((given["zone"] or "").lower().removeprefix("etc/"), 0))

"""What a server's headers say about when to ask again: RFC 9111 (how long an answer stays fresh) and RFC 9110, section 10.2.3 (Retry-After)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MOST_S = 86_400.0  # a day: no header makes a source wait longer, whoever wrote it


def fresh_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds for which the answer needs not be asked for again, 0 to a day; None where the headers say nothing of it.

    Cache-Control goes before Expires, and `no-cache`, `no-store` and `max-age=0` mean: at any time. Age, the time that the answer lay in a cache on
    its way, is taken off. `s-maxage` is for shared caches and not for us. Expires is measured by the server's own Date, where it names one, so that a
    wrong clock over there does no harm. Headers that can't be read count as absent.
    """
    directives = _directives(headers.get("Cache-Control", ""))
    if "no-cache" in directives or "no-store" in directives:
        return 0.0
    if "max-age" in directives:
        value = directives["max-age"]
        return _bounded(float(value[:12]) - _age(headers)) if _is_number(value) else None
    if not (expires := headers.get("Expires", "")):
        return None
    end = http_date(expires)
    if end is None:
        return 0.0  # RFC 9111, section 5.3: an invalid date, such as 0, is one in the past
    return _bounded((end - (http_date(headers.get("Date", "")) or now)).total_seconds() - _age(headers))


def retry_seconds(value: str, now: datetime) -> float | None:
    """Seconds of a Retry-After header (a number or a date), 0 to a day; None where there is none that can be read."""
    value = value.strip()
    if _is_number(value):
        return _bounded(float(value[:12]))
    moment = http_date(value)
    return None if moment is None else _bounded((moment - now).total_seconds())


def http_date(value: str) -> datetime | None:
    """A date of a header (RFC 9110, section 5.6.7), aware; None for what is none."""
    try:
        moment = parsedate_to_datetime(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _directives(value: str) -> dict[str, str]:
    """The first of each name, in lower case; a quoted number counts as its number (section 5.2)."""
    found: dict[str, str] = {}
    for part in value.split(","):
        name, _, argument = part.partition("=")
        found.setdefault(name.strip().lower(), argument.strip().strip('"'))
    return found


def _age(headers: Mapping[str, str]) -> float:
    value = headers.get("Age", "").strip()
    return float(value[:12]) if _is_number(value) else 0.0


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit()


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), MOST_S)

"""What would be read from an address, before it becomes a source: what it is, what is in it, what is wrong with it, and what to do."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urljoin
from urllib.robotparser import RobotFileParser

from pydantic import BaseModel

from services.ingest.discovery import Found, discover
from services.ingest.feeds import Parsed, is_page, parse_feed
from services.ingest.fetch import AGENT, Fetched, Fetcher
from services.ingest.items import RawItem, Refused, SourceProblem, Unusable
from services.ingest.kinds import kind_name
from services.ingest.logins import without_login
from services.ingest.markup import read_html
from services.ingest.text import decode, one_line
from shared.clock import Clock

FIRST = 5  # titles that are shown
_LOOKED_AT = 300  # items whose text is made, to see whether there is one
_OLD = timedelta(days=365)
_ROBOTS = 500_000  # bytes of robots.txt that count (RFC 9309, 2.5)
_ADVICE = (
    (
        r"answers 40[13]",
        "the server refuses programs or wants a login: open the address in a browser, and ask the publisher for one that is open to readers",
    ),
    (
        r"answers (404|410)|\(410\)",
        "the address is wrong or the feed is gone: check the page of its publisher, where `sources check PAGE` finds feeds",
    ),
    (r"answers 429|answers 5\d\d", "the server is busy or broken: try again later; added with --unchecked it is tried until it answers"),
    (r"not a global address", "only if it is yours: add the host to allow_hosts in feedloop.yaml"),
    (r"certificate|SSL", "the server's certificate is not in order: its publisher has to mend it; an http address may do until then"),
    (r"no whole answer", "the server is slow: try again later; added with --unchecked it is tried until it answers"),
)


class Report(BaseModel):
    """`readable` says whether it can be a source as it is. `problems` are what is wrong, `advice` what to do; `feeds` those of a page."""

    url: str
    final_url: str = ""
    moved: str = ""
    readable: bool = False
    kind: str = ""
    title: str = ""
    items: int = 0
    newest: datetime | None = None
    titles: list[str] = []
    problems: list[str] = []
    advice: list[str] = []
    feeds: list[Found] = []


async def check(url: str, fetcher: Fetcher, clock: Clock) -> Report:
    """Fetch and look, through the same parts that a source is read with; nothing is published. Never raises for what a server does."""
    robots = asyncio.create_task(_refused_by_robots(url, fetcher))
    try:
        report = await _look(url, fetcher, clock)
        report.url = without_login(url)[0]  # the report is shown, and logged by whoever asked
        if await robots:
            report.problems.append("the server's robots.txt asks programs not to read this address")
            report.advice.append("Feedloop reads what you name, as feed readers do; ask the publisher if you are not sure that this is welcome")
        return report
    finally:
        robots.cancel()


async def _look(url: str, fetcher: Fetcher, clock: Clock) -> Report:
    try:
        fetched = await fetcher.get(url)
    except SourceProblem as problem:
        words = str(problem)
        return Report(url=url, problems=[words], advice=[advice for pattern, advice in _ADVICE if re.search(pattern, words)])
    body = fetched.body or b""
    report = Report(url=url, final_url=fetched.url, moved=fetched.moved)
    try:
        parsed = await asyncio.to_thread(parse_feed, body, fetched.content_type, fetched.url)
    except Unusable as error:
        report.problems.append(str(error))
        if is_page(body):
            await _offer(report, fetched, fetcher)
        return report
    return await asyncio.to_thread(_describe, report, parsed, fetched, clock())


async def _offer(report: Report, page: Fetched, fetcher: Fetcher) -> None:
    report.feeds, wrong = await discover(page, fetcher)
    report.problems += [f"announced by the page, but {line}" for line in wrong]
    if report.feeds:
        report.advice.append(
            f"the page has {'a feed' if len(report.feeds) == 1 else f'{len(report.feeds)} feeds'}: add the one you want by its address"
        )
    else:
        report.advice.append("no feed was found on the page, behind its links or in the usual places: ask its publisher for one")


def _describe(report: Report, parsed: Parsed, fetched: Fetched, now: datetime) -> Report:
    items = [item for item in parsed.items if isinstance(item, RawItem)]
    dates = [item.published for item in items if item.published]
    past = [date for date in dates if date <= now]
    report.readable, report.kind, report.items = True, kind_name(parsed.version), len(parsed.items)
    report.title, report.newest = one_line(parsed.title, 200), max(past, default=None)
    report.titles = [one_line(item.title, 120) or "(no title)" for item in items[:FIRST]]
    for problem, advice in _problems(parsed, items, now):
        report.problems.append(problem)
        report.advice += [advice] if advice else []
    if fetched.moved:
        report.problems.append(f"the feed has moved for good, to {fetched.moved}")
        report.advice.append("add it by its new address")
    return report


def _problems(parsed: Parsed, items: list[RawItem], now: datetime) -> list[tuple[str, str]]:
    """What is wrong with a feed that can be read, and what to do about it where there is anything to do."""
    found = [(parsed.note, "tell its publisher" if parsed.broken else "")] if parsed.note else []
    refused = Counter(item.detail for item in parsed.items if isinstance(item, Refused))
    found += [(f"{count} of {len(parsed.items)} items would be refused: {detail}", "") for detail, count in refused.items()]
    if count := sum(item.published is None for item in items):
        found.append((f"{_of(count, items)} no date that can be read: the time at which it is read first counts", ""))
    if count := sum(item.published is not None and item.published > now for item in items):
        found.append((f"{_of(count, items)} a date in the future: the time at which it is read counts", ""))
    looked_at = items[:_LOOKED_AT]
    if count := sum(not _has_text(item) for item in looked_at):
        found.append((f"{_of(count, looked_at)} no text, only a title", "look for a full-text feed of the publisher"))
    if count := sum(not item.key and not item.url for item in items):
        found.append((f"{_of(count, items)} neither an id nor an address: an edited item will be taken for a new one", ""))
    newest = max((item.published for item in items if item.published), default=None)
    if newest and now - newest > _OLD:
        found.append((f"nothing new since {newest:%Y-%m-%d}", "see whether the publisher has another feed"))
    return found


def _has_text(item: RawItem) -> bool:
    # the main text alone is not looked for: of 300 long items that would take minutes
    text = read_html(item.body, whole_to=len(item.body)).text if item.markup else item.body
    return any(character.isalnum() for character in text)


def _of(count: int, whole: Sequence[RawItem]) -> str:
    return f"{count} of {len(whole)} items {'have' if count != 1 else 'has'}"


async def _refused_by_robots(url: str, fetcher: Fetcher) -> bool:
    """Whether robots.txt (RFC 9309) asks us not to read the address. One that can't be had asks nothing."""
    try:
        fetched = await fetcher.get(urljoin(url, "/robots.txt"))
    except (SourceProblem, ValueError):
        return False
    if "html" in fetched.content_type.lower():
        return False
    rules = RobotFileParser()
    rules.parse(decode((fetched.body or b"")[:_ROBOTS]).splitlines())
    return not rules.can_fetch(AGENT, url)

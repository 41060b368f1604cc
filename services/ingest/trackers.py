"""Links that count clicks or guard mailboxes, unwrapped where the link itself holds its target. Nothing is fetched: what can't be read stays."""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote, urlsplit

# A cheap look before anything is parsed: a second address, plain, percent-encoded, Proofpoint's or in base64 ("http", '{"', a zlib stream).
_HOLDS_ONE = re.compile(r".https?(:|%3a|%253a|-3a)|aHR0c|ey[IJ]|/eJ[a-z]|/articles/CBM|/amp/|ampproject", re.I)
_TARGET = re.compile(r"https?://[^/\s?#@]{1,250}\.[^/\s?#@]{1,250}(?:[/?#]\S*)?", re.I)
_BASE64 = re.compile(r"[A-Za-z0-9_+/-]{16,}={0,2}")
# Hosts whose whole business is to redirect, and the query parameters in which they keep the target.
_REDIRECTORS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(place, re.I), names)
    for place, names in (
        (r"(www\.)?google\.[a-z.]{2,6}/url", ("q", "url")),
        (r"[\w-]+\.safelinks\.protection\.(outlook|office365)\.[a-z.]+/", ("url",)),
        (r"urldefense\.proofpoint\.com/v1/url", ("u",)),
        (r"linkprotect\.cudasvc\.com/url", ("a",)),
        (r"[\w.-]+\.trendmicro\.com/wis/clicktime/", ("url",)),
        (r"lm?\.(facebook|messenger)\.com/|l\.instagram\.com/|l\.threads\.(net|com)/|l\.workplace\.com/", ("u",)),
        (r"(www\.)?linkedin\.com/(safety/go|redir/)", ("url",)),
        (r"(www\.)?youtube\.com/redirect", ("q",)),
        (r"(m\.)?vk\.(com|ru)/away\.php", ("to",)),
        (r"t\.umblr\.com/redirect", ("z",)),
        (r"steamcommunity\.com/linkfilter", ("u", "url")),
        (r"(www\.)?slack-redir\.net/link|out\.reddit\.com/|disq\.us/url|medium\.com/r/|go\.redirectingat\.com/", ("url",)),
        (r"duckduckgo\.com/l/", ("uddg",)),
        (r"(www\.)?bing\.com/ck/a", ("u",)),
        (r"click\.linksynergy\.com/", ("murl",)),
        (r"(www\.)?awin1\.com/", ("ued", "p")),
        (r"(www\.)?shareasale\.com/", ("urllink",)),
        (r"redirect\.viglink\.com/", ("u",)),
    )
)
# Anybody's click counter is known by its name, which stands before that of its domain (go.dev is no counter); a page that takes an address for another
# purpose (to share, to log in, to translate) is not one.
_CLICK_HOST = re.compile(
    r"(click|clicks|clk|track|tracking|trk|links?|lnk|redirect|redir|go|out|ct|awstrack)\d*[.-](?=[^.]+\.)|.*\.awstrack\.me$|e\.customeriomail\.",
    re.I,
)
_CLICK_PATH = re.compile(
    r"/(clicks?|click-?thr(ough|u)|cl0|l0|track(ing)?|redirect|redir|out(bound|going)?|goto|away|exit|lnk|ls/click|e/c)(\.\w{2,4})?(/|$)", re.I
)
_OTHER_PURPOSE = re.compile(
    r"share|intent/|log-?in|sign-?(in|up)|auth|sso|translate|validat|archive|/save|submit|proxy|embed|preview|screenshot|/cache|pinterest|whatsapp",
    re.I,
)
_PARAMETERS = ("url", "u", "target", "to", "dest", "destination", "redirect", "redirecturl", "redirect_url", "goto", "href", "murl")
_IN_PATH = re.compile(r"/(https?(?::|%3a|%253a)(?:/|%2f|%252f){1,2}.+)$", re.I)
_PROOFPOINT_2 = re.compile(r"urldefense\.proofpoint\.com$", re.I)
_PROOFPOINT_3 = re.compile(r"/v3/__(.+?)__;([^!]*)!", re.S)
_RUNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"  # Proofpoint v3: **A stands for two characters, **B for three …
_MOST_UNPACKED = 8_000  # bytes


def unwrap(url: str) -> str:
    """The target of a link that holds it, one layer; else the link as it is. Never raises."""
    if not _HOLDS_ONE.search(url):
        return url
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return url
    place = f"{host}{parts.path}"
    found = _defended(host, url) or _amp(host, parts.path)
    for pattern, names in _REDIRECTORS:
        if not found and pattern.match(place):
            found = _in_query(parts.query, names)
    if not found and host == "news.google.com":
        found = _embedded(parts.path.rpartition("/articles/")[2])
    if not found and re.fullmatch(r"(\w+\.)?substack\.com", host) and parts.path.startswith("/redirect/"):
        found = _in_base64(parts.path.rpartition("/")[2])
    if not found and (_CLICK_HOST.match(host) or _CLICK_PATH.search(parts.path)) and not _OTHER_PURPOSE.search(place):
        found = _in_query(parts.query, _PARAMETERS) or _in_path(parts.path, parts.query) or _first(map(_in_base64, parts.path.split("/")))
    return found or url


def _plain(value: str) -> str:
    """An address that stands in a parameter, plain or percent-encoded once or twice more."""
    for _ in range(3):
        if _TARGET.fullmatch(value):
            return value
        value = unquote(value)
    return ""


def _in_query(query: str, names: tuple[str, ...]) -> str:
    try:
        given = {name.lower(): value for name, value in parse_qsl(query, max_num_fields=200)}
    except ValueError:
        return ""
    return _first(_plain(value) or _in_base64(value) for name in names if (value := given.get(name)))


def _in_path(path: str, query: str) -> str:
    """…/CL0/https:%2F%2Fe.org%2Fa/1/0100…: the encoded part is the target, and what follows it the counter's own."""
    if not (match := _IN_PATH.search(path)):
        return ""
    target = match[1]
    if re.match(r"https?(:|%3a|%253a)(%2f|%252f)", target, re.I):
        return _plain(target.split("/")[0])
    target = re.sub(r"^(https?:)/+", r"\1//", target)
    return _plain(f"{target}?{query}" if query else target)


def _in_base64(value: str) -> str:
    """An address in base64: bare, as the only address of a JSON object, or in a compressed one."""
    value = re.sub(r"^a1(?=aHR0c)", "", value).split(".")[0]  # Bing writes "a1" before it; tokens end in .signature
    if not _BASE64.fullmatch(value):
        return ""
    try:
        data = base64.urlsafe_b64decode(value.replace("+", "-").replace("/", "_").rstrip("=") + "=" * (-len(value.rstrip("=")) % 4))
        if data[:1] == b"\x78":
            data = zlib.decompressobj().decompress(data, _MOST_UNPACKED)
        text = data.decode("utf-8")
    except (binascii.Error, ValueError, zlib.error):
        return ""
    if text.startswith("{"):
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return ""
        found = {given for given in said.values() if isinstance(given, str) and _TARGET.fullmatch(given)}
        return found.pop() if len(found) == 1 else ""
    return _plain(text)


def _embedded(token: str) -> str:
    """Google News: an address with its length before it, in a protocol buffer; newer tokens hold none."""
    try:
        data = base64.urlsafe_b64decode(token.rstrip("=") + "=" * (-len(token.rstrip("=")) % 4))
    except (binascii.Error, ValueError):
        return ""
    start = data.find(b"http")
    if start < 1:
        return ""
    size = data[start - 1]
    if start > 1 and data[start - 2] & 0x80:  # a length of two bytes, seven bits each
        size = (data[start - 2] & 0x7F) | (size << 7)
    return _plain(data[start : start + size].decode("utf-8", "replace"))


def _defended(host: str, url: str) -> str:
    """Proofpoint URL Defense, versions 2 and 3."""
    if _PROOFPOINT_2.search(host) and "/v2/" in url:
        given = dict(parse_qsl(urlsplit(url).query)).get("u", "")
        return _plain(unquote(given.replace("-", "%").replace("_", "/")))
    if re.fullmatch(r"(\w+\.)*urldefense\.(com|us|proofpoint\.com)", host) and (match := _PROOFPOINT_3.search(url)):
        try:
            spare = base64.urlsafe_b64decode(match[2] + "=" * (-len(match[2]) % 4)).decode("utf-8")
        except (binascii.Error, ValueError):
            return ""
        place = 0

        def put_back(star: re.Match[str]) -> str:
            nonlocal place
            count = _RUNS.index(star[1]) + 2 if star[1] else 1
            place += count
            return spare[place - count : place]

        return _plain(re.sub(r"^(https?:)/+", r"\1//", re.sub(r"\*(?:\*([A-Za-z0-9_-]))?", put_back, match[1])))
    return ""


def _amp(host: str, path: str) -> str:
    """Google's copies of pages (AMP): /amp/s/e.org/a is https://e.org/a."""
    if re.fullmatch(r"(www\.)?google\.[a-z.]{2,6}", host):
        match = re.match(r"/amp/(s/)?(.+\..+)", path)
    elif host.endswith(".cdn.ampproject.org"):
        match = re.match(r"/[cv]/(s/)?(.+\..+)", path)
    else:
        return ""
    return _plain(f"http{'s' if match[1] else ''}://{match[2]}") if match else ""


def _first(values: Iterable[str]) -> str:
    return next((value for value in values if value), "")

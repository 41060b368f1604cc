"""Canonical addresses: the same page under its many tracked names is one address."""

import re
from urllib.parse import quote, unquote_plus, urlsplit

from services.ingest.trackers import unwrap

_TRACKING = re.compile(
    r"(utm_\w+|fbclid|gclid|gclsrc|dclid|wbraid|gbraid|msclkid|yclid|ttclid|twclid|igshid|igsh|li_fat_id|epik|mc_cid|mc_eid|mkt_tok|_hsenc|_hsmi|__hs\w+"
    r"|hsctatracking|oly_\w+_id|vero_id|vero_conv|ref_src|ref_url|cmpid|_ke|_kx|s_cid|s_kwcid|ef_id|wt_mc|wt\.mc_id|ns_(campaign|mchannel|source|linkname|fee)"
    r"|pk_\w+|mtm_\w+|piwik_\w+|matomo_\w+|elq\w*|bsft_\w+|ck_subscriber_id|sc_(campaign|channel|content|medium|outcome|geo|country)|xtor|_openstat"
    r"|guccounter|guce_referrer\w*|smid|ncid|nr_email_referer|rb_clickid|spm|trkcampaign|trkemail|at_(campaign|medium|custom\d)|dm_i|_branch_match_id)",
    re.I,
)
_BREAKS = re.compile(r"[\r\n\t]+")
_UNSEEN = re.compile(r"[\x00-\x20\x7f-\x9f]+")
_NO_HOST = re.compile(r"[\x00-\x20\x7f-\x9f<>\"'`{}|\\^%!*();&=+$,/?#@]")  # letters of any script may stand in a name
_DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL = 1000
_MOST_GIVEN = 16_000  # characters of an address as it came: trackers write long ones
_LAYERS = 8  # of redirectors around one another that are unwrapped


def canonical(url: str) -> str:
    """Out of its trackers, without tracking parameters, fragment, credentials and default port, host in lower case. Empty for no http(s) address. What
    is canonical stays as it is."""
    for _ in range(_LAYERS):
        url = _cleaned(url)
        if not url or unwrap(url) == url:  # a tracker may be one only once it is cleaned
            break
    return url


def _cleaned(url: str) -> str:
    url = _BREAKS.sub("", url.strip()).encode("utf-8", "replace").decode()  # half a character is none
    if len(url) > _MOST_GIVEN:
        return ""
    for _ in range(_LAYERS):
        wrapped, url = url, unwrap(url)
        if url == wrapped:
            break
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        if parts.scheme not in _DEFAULT_PORTS or not host or _NO_HOST.search(host):
            return ""
    except ValueError:  # a bad port, or an unclosed bracket
        return ""
    netloc = f"[{host}]" if ":" in host else host
    if port and port != _DEFAULT_PORTS[parts.scheme]:
        netloc = f"{netloc}:{port}"
    query = parts.query
    given = query.split("&")
    kept = [pair for pair in given if not _TRACKING.fullmatch(unquote_plus(pair.partition("=")[0]))]
    if len(kept) != len(given):
        query = "&".join(kept)  # as they were written: `?article` is not `?article=`, and %E4 may be ä in another charset than UTF-8
    query = _UNSEEN.sub(lambda found: quote(found[0]), query)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    result = parts._replace(netloc=netloc, path=path, query=query, fragment="").geturl()
    return result if len(result) <= MAX_URL else ""


def http_of(address: str) -> str:
    """feed:https://… and feed://… (an old custom of readers) as what they stand for."""
    if address.lower().startswith("feed:"):
        rest = address[5:]
        return rest if rest.lower().startswith(("http:", "https:")) else f"http:{rest if rest.startswith('//') else '//' + rest}"
    return address

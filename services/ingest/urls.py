"""Canonical addresses: the same page under its many tracked names is one address."""

import re
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

_TRACKING = re.compile(r"(utm_\w+|fbclid|gclid|dclid|msclkid|yclid|igshid|mc_cid|mc_eid|mkt_tok|_hsenc|_hsmi|oly_\w+_id|vero_id|ref_src|cmpid)", re.I)
_BREAKS = re.compile(r"[\r\n\t]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL = 1000


def canonical(url: str) -> str:
    """Without tracking parameters, fragment, credentials and default port, host in lower case. Empty for what is no http(s) address."""
    try:
        parts = urlsplit(_BREAKS.sub("", url.strip()))
        host, port = (parts.hostname or "").rstrip("."), parts.port
        if parts.scheme not in _DEFAULT_PORTS or not host:
            return ""
    except ValueError:  # a bad port, or an unclosed bracket
        return ""
    netloc = f"[{host}]" if ":" in host else host
    if port and port != _DEFAULT_PORTS[parts.scheme]:
        netloc = f"{netloc}:{port}"
    query = parts.query
    pairs = parse_qsl(query, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if not _TRACKING.fullmatch(name)]
    if len(kept) != len(pairs):
        query = urlencode(kept)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    result = parts._replace(netloc=netloc, path=path, query=query, fragment="").geturl()
    return result if len(result) <= MAX_URL else ""

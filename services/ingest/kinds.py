"""The names of feed formats for people."""

_OWN = {"json10": "JSON Feed 1.0", "json11": "JSON Feed 1.1", "": "RSS or RDF, of no version that is known"}


def kind_name(version: str) -> str:
    """rss20 is RSS 2.0: services.ingest.feeds.Parsed.version in words."""
    from feedparser.api import SUPPORTED_VERSIONS

    return _OWN.get(version) or str(SUPPORTED_VERSIONS.get(version, version))

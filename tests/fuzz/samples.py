"""Small samples of everything that ingest reads, one of each kind and shape: what the fuzzer begins with where no other project's files are at hand."""

RSS = b"""<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/">
<channel><title>Desk</title><link>https://desk.example/</link><ttl>60</ttl>
<item><guid isPermaLink="false">a1</guid><title>Bridge &amp; river</title><link>https://desk.example/a?utm_source=rss&amp;id=1</link>
<pubDate>Fri, 20 Nov 2026 10:00:00 +0100</pubDate><dc:creator>Ana</dc:creator>
<description><![CDATA[<p>The council <b>votes</b> on the bridge. <a href="/more">More</a></p>]]></description>
<content:encoded><![CDATA[<div style="display:none">hidden</div><p>The whole text, with <i>marks</i>.</p>]]></content:encoded></item>
<item><title>No id</title><description>&lt;p&gt;Escaped markup&lt;/p&gt;</description><pubDate>yesterday</pubDate></item>
</channel></rss>"""
RSS_091 = b"""<?xml version="1.0"?><!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" "http://my.netscape.com/publish/formats/rss-0.91.dtd">
<rss version="0.91"><channel><title>Old</title><language>en</language><item><title>One</title><link>http://old.example/1</link>
<description>Words of the old days</description></item></channel></rss>"""
RDF = b"""<?xml version="1.0" encoding="iso-8859-1"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/" xmlns:sy="http://purl.org/rss/1.0/modules/syndication/">
<channel rdf:about="http://r.example/"><title>Caf\xe9</title><sy:updatePeriod>hourly</sy:updatePeriod><items><rdf:Seq><rdf:li resource="http://r.example/1"/></rdf:Seq></items></channel>
<item rdf:about="http://r.example/1"><title>Un caf\xe9</title><link>http://r.example/1</link><description>Deux caf\xe9s</description></item></rdf:RDF>"""
ATOM = b"""<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en" xml:base="https://p.example/"><title type="html">A &lt;b&gt;planet&lt;/b&gt;</title><id>urn:x:1</id>
<entry><id>urn:x:2</id><title>Storm</title><updated>2026-11-20T10:00:00Z</updated><author><name>Zo\xc3\xab</name></author>
<link rel="alternate" href="storm.html"/><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>The <em>harbour</em> is closed.</p></div></content></entry>
<entry><id>urn:x:3</id><title>Tea</title><published>2026-02-30T25:61:00Z</published><summary type="text">Tariffs &lt;return&gt;</summary></entry></feed>"""
ATOM_03 = b"""<feed version="0.3" xmlns="http://purl.org/atom/ns#"><title>Three</title><entry><id>tag:e.org,2004:1</id><title mode="escaped">&lt;i&gt;Hi&lt;/i&gt;</title>
<issued>2004-01-01T00:00:00</issued><content type="text/html" mode="base64">PHA+SGVsbG8gd29ybGQ8L3A+</content></entry></feed>"""
CDF = b"""<CHANNEL HREF="http://c.example/"><TITLE>Channel</TITLE><ITEM HREF="http://c.example/1" LASTMOD="1997-01-01"><TITLE>First</TITLE>
<ABSTRACT>An abstract of 1997</ABSTRACT></ITEM></CHANNEL>"""
UTF_16 = '<?xml version="1.0" encoding="utf-16"?><rss version="2.0"><channel><item><title>Wide</title><description>Broad words</description></item></channel></rss>'.encode(
    "utf-16"
)
JSON_FEED = b"""{"version": "https://jsonfeed.org/version/1.1", "title": "Wire", "home_page_url": "https://w.example/", "authors": [{"name": "W"}],
"items": [{"id": "1", "url": "https://w.example/1", "title": "One", "content_html": "<p>Words <a href='/x'>here</a></p>", "date_published": "2026-11-20T10:00:00+01:00"},
{"id": 2, "content_text": "Only text, \\u00e9 and \\ud83d\\ude00", "date_modified": "2026-11-20", "attachments": [{"url": "x", "size_in_bytes": 1e3}]}, 7, null]}"""
JSON_FEED_1 = (
    b'{"version": "https://jsonfeed.org/version/1", "items": [{"id": 1.5, "external_url": "//e.org/a", "summary": "S", "author": {"name": "A"}}]}'
)
OPML = b"""<?xml version="1.0" encoding="utf-8"?><opml version="2.0" xmlns:feedloop="urn:feedloop:opml:1"><head><title>Mine</title></head><body>
<outline text="News"><outline type="rss" text="Desk &amp; Co" title="Desk" xmlUrl="https://desk.example/feed?a=1&amp;b=2" htmlUrl="https://desk.example/" feedloop:interval="1h"/>
<outline text="No address"/><outline text="Planet" xmlURL='feed://p.example/atom'/></outline></body></opml>"""
OPML_BROKEN = b"""<opml version=1.0><body><outline text="A & B" xmlUrl="http://a.example/?x=1&y=2"><!-- a <outline xmlUrl="http://not/"> -->
<outline title="quote " in it" xmlUrl="http://b.example/rss"/><outline xmlUrl="mailto:x"></body>"""
PLAIN_MAIL = b"""Received: from a by b; Fri, 20 Nov 2026 10:00:05 +0000
From: =?utf-8?B?Wm/DqyBCcsO7bMOp?= <zoe@desk.example>
To: me@e.org
Subject: =?iso-8859-1?Q?Caf=E9_news?=
Date: Fri, 20 Nov 2026 10:00:00 +0000
Message-ID: <1@desk.example>
List-Id: The Desk <daily.desk.example>
List-Unsubscribe: <https://desk.example/leave>, <mailto:leave@desk.example>
Content-Type: text/plain; charset="utf-8"; format=flowed; delsp=yes
Content-Transfer-Encoding: quoted-printable

The caf=C3=A9 by the river opens again =E2=80=94 on =
Monday. See https://desk.example/cafe?utm_medium=3Dmail for more.

On Thu, 19 Nov 2026 at 10:00, Ana <ana@e.org> wrote:
> Does it open again?
> > I hope so.

Best regards
Zoe Brule
--=20
+44 20 7946 0000 | www.desk.example
Unsubscribe: https://desk.example/leave
"""
ALTERNATIVE = b"""From: Desk <desk@desk.example>
Subject: Weekly
Date: Fri, 20 Nov 2026 10:00:00 -0500
Message-ID: <2@desk.example>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="outer"

preamble
--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=windows-1252

Plain \x93words\x94 of the letter, long enough to stand for the page as it is.
--inner
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PGh0bWw+PGhlYWQ+PHN0eWxlPi5oe2Rpc3BsYXk6bm9uZX08L3N0eWxlPjwvaGVhZD48Ym9keT48cD5X
b3JkcyBvZiB0aGUgPGEgaHJlZj0iaHR0cHM6Ly9lLm9yZy9hIj5sZXR0ZXI8L2E+PC9wPjxpbWcgc3Jj
PSJodHRwczovL2Uub3JnL29wZW4uZ2lmIj48L2JvZHk+PC9odG1sPg==
--inner--
--outer
Content-Type: application/ms-tnef; name="winmail.dat"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename*=utf-8''winm%C3%A4il.dat

eJ8+IgAAAAA=
--outer
Content-Type: text/calendar; method=REQUEST

BEGIN:VCALENDAR
END:VCALENDAR
--outer
Content-Type: message/rfc822

From: inner@e.org
Subject: Inner
Content-Type: text/plain

Forwarded words.
begin 644 file.txt
#86)C
`
end
--outer--
"""
DIGEST_MAIL = b"""From: list@e.org
Subject: Digest, Vol 1
Message-ID: <3@e.org>
MIME-Version: 1.0
Content-Type: multipart/digest; boundary="d"

--d

From: a@e.org
Subject: First
Message-ID: <3a@e.org>

The first of two.
--d
Content-Type: message/rfc822

From: b@e.org
Subject: Second
Message-ID: <3b@e.org>

The second of two.
--d--
"""
RFC_1153 = (
    b"From: list@e.org\nSubject: List Digest, Vol 3, Issue 4\nMessage-ID: <4@e.org>\n\nSend submissions to list@e.org\n\nToday's Topics:\n   1. One (Ana)\n\n"
    + b"-" * 70
    + b"\n\nMessage: 1\nDate: Fri, 20 Nov 2026 10:00:00 +0000\nFrom: Ana <ana@e.org>\nSubject: One\n\nThe first text.\n\n"
    + b"-" * 30
    + b"\n\nMessage: 2\nDate: Fri, 20 Nov 2026 11:00:00 +0000\nFrom: Bo <bo@e.org>\nSubject: Two\n\nThe second text.\n\n"
    + b"-" * 30
    + b"\n\nEnd of List Digest\n"
)
NEWS = [
    ("Storm closes the harbour", "The harbour of Pellara stays closed until Monday, the port authority said on Friday night."),
    ("Tea tariffs return", "The Lake States and Somarra failed to agree, and the old tariffs on tea return next week."),
    ("Choir saves its hall", "The singers of Oberau bought the hall in which they have met since 1922 for one crown."),
    ("Cables hear earthquakes", "Unused cables under the bay have been turned into a giant seismometer by geophysicists."),
    ("Library lends umbrellas", "The town library lends umbrellas now, and forty of fifty came back in the first week."),
]
FOOT = "<p>You are receiving this because you signed up. <a href='https://e.org/unsubscribe'>Unsubscribe</a></p>"
ROUNDUP = (
    "<html><body><ul>"
    + "".join(f"<li><a href='https://e.org/{n}?utm_source=m'>{title}</a> by Ana<br>{text}</li>" for n, (title, text) in enumerate(NEWS))
    + f"</ul>{FOOT}</body></html>"
).encode()
HEADINGS = (
    "<html><body>"
    + "".join(f"<h2>{title}</h2><p>{text} <a href='https://e.org/{n}'>Read more</a></p>" for n, (title, text) in enumerate(NEWS))
    + FOOT
).encode()
LEADS = "".join(
    f"<p><b>{title}.</b> {text.replace('the', f'<a href=https://e.org/{n}>the</a>', 1)}</p>" for n, (title, text) in enumerate(NEWS)
).encode()
PLAIN_DIGEST = ("Good morning.\n\n" + "\n\n".join(f"{n}. {title}\n{text}\nhttps://e.org/{n}" for n, (title, text) in enumerate(NEWS))).encode()
DIGEST_LETTER = b"From: Desk <desk@e.org>\nSubject: Five things\nMessage-ID: <5@e.org>\nContent-Type: text/html; charset=utf-8\n\n" + ROUNDUP
DIGEST_ITEM = (
    b"<rss version='2.0'><channel><title>D</title><item><guid>1</guid><title>Five things</title><description><![CDATA["
    + HEADINGS
    + b"]]></description></item></channel></rss>"
)
PAGE = b"""<!doctype html><html><head><meta charset=utf-8><base href="https://e.org/b/"><style>.gone, #pre { display: none } @media print { p { color: red } }
/* a comment */</style><link rel=alternate type="application/rss+xml" href="feed.xml"></head><body>
<div class=gone>not seen</div><p style="font-size:0">nor this <span style="font-size: 12px">but this</span></p><p style="color:#fff">white</p>
<div style="background:#003366"><span style="color:white">on a button</span></div><blockquote type=cite>quoted</blockquote>
<table><tr><td>one<td>two</table><pre>a
 b</pre><script>alert(1)</script><p>Words &amp; <a href="x?y=1#z">a link</a> &#x1F600; &bogus;</p><!-- done --></body></html>"""
TRACKERS = b"""https://www.google.com/url?q=https%3A%2F%2Fe.org%2Fa&sa=D
https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fe.org%2Fa%3Fb%3D1&data=05
https://urldefense.proofpoint.com/v2/url?u=https-3A__e.org_a-5Fb&d=DwMF
https://urldefense.com/v3/__https://e.org/a*b**Cc__;Iw!!abc$
https://click.e.org/CL0/https:%2F%2Fe.org%2Fa/1/0100/x=12
https://track.example/click?u=aHR0cHM6Ly9lLm9yZy9hYmM
https://news.google.com/rss/articles/CBMiGWh0dHBzOi8vZS5vcmcvYWJjL2RlZi9naGnSAQA?oc=5
https://www.google.com/amp/s/e.org/amp/a.html
https://e-org.cdn.ampproject.org/c/s/e.org/a
http://USER:pw@E.org:80/a%20b?utm_source=x&gclid=1&q=a+b#frag
https://lnk.example/eyJ1cmwiOiJodHRwczovL2Uub3JnL2EifQ
//e.org/a
mailto:a@e.org
"""
MBOX = (
    b"From a@e.org Fri Nov 20 10:00:00 2026\n"
    + PLAIN_MAIL
    + b"\nFrom b@e.org Fri Nov 20 11:00:00 2026\nContent-Length: 20\nSubject: Two\n\n>From the desk: words\n"
)
HEADERS = b"""Cache-Control: public, max-age="600", s-maxage=10
Age: 12
Expires: Fri, 20 Nov 2026 10:00:00 GMT
Date: Fri, 20 Nov 2026 09:00:00 GMT
Retry-After: 120
"""
IMAP = b"""* OK [CAPABILITY IMAP4rev1 IDLE SASL-IR AUTH=PLAIN] ready
* LIST (\\HasNoChildren) "/" "INBOX"
* LIST (\\Noselect) "." {7}
A&AOQ-b
* SEARCH 1 2 5 99
* 1 FETCH (UID 5 RFC822.SIZE 12 BODY[]<0> {12}
Subject: a

)
* 2 FETCH (UID 6 BODY[] "quo\\"ted")
f1 OK [UIDVALIDITY 7] [UIDNEXT 100] done
"""
BY_KIND: dict[str, tuple[bytes, ...]] = {
    "feed": (RSS, RSS_091, RDF, ATOM, ATOM_03, CDF, UTF_16, DIGEST_ITEM),
    "json": (JSON_FEED, JSON_FEED_1),
    "opml": (OPML, OPML_BROKEN),
    "mail": (PLAIN_MAIL, ALTERNATIVE, DIGEST_MAIL, RFC_1153, DIGEST_LETTER),
    "mbox": (MBOX,),
    "html": (PAGE, ROUNDUP, HEADINGS, LEADS),
    "digest": (ROUNDUP, HEADINGS, LEADS, PLAIN_DIGEST),
    "links": (TRACKERS,),
    "headers": (HEADERS,),
    "imap": (IMAP,),
}

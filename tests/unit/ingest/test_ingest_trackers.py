"""Links that count clicks: the target where the link holds it, the link itself where it does not."""

import base64
import json
import zlib
from urllib.parse import quote

import pytest

from services.ingest.urls import canonical

TARGET = "https://e.org/a/b?id=1"
QUOTED = quote(TARGET, safe="")


def b64(text: str | bytes) -> str:
    return base64.urlsafe_b64encode(text.encode() if isinstance(text, str) else text).decode().rstrip("=")


GOOGLE_NEWS = b64(b"\x08\x13\x22" + bytes([len(TARGET)]) + TARGET.encode() + b"\xd2\x01\x00")
LONG = "https://e.org/" + "long-way/" * 20
GOOGLE_NEWS_LONG = b64(b"\x08\x13\x22" + bytes([len(LONG) & 0x7F | 0x80, len(LONG) >> 7]) + LONG.encode() + b"\xd2\x01\x00")


@pytest.mark.parametrize(
    "wrapped",
    [
        f"https://www.google.com/url?sa=t&url={QUOTED}&usg=x",
        f"https://www.google.co.uk/url?q={QUOTED}",
        f"https://eur01.safelinks.protection.outlook.com/?url={QUOTED}&data=05%7C01&reserved=0",
        "https://urldefense.proofpoint.com/v2/url?u=https-3A__e.org_a_b-3Fid-3D1&d=DwMF&c=x",
        f"https://urldefense.proofpoint.com/v1/url?u={QUOTED}&k=x",
        "https://urldefense.com/v3/__https://e.org/a/b?id=1__;!!abc$",
        "https://urldefense.com/v3/__https:/e.org/a/b*id=1__;Pw!!abc!d$",
        "https://urldefense.us/v3/__https://e.org/a/b**Bd=1__;P2lk!!x$".replace("**Bd", "**A" + "d"),
        f"https://linkprotect.cudasvc.com/url?a={QUOTED}&c=E,1",
        f"https://l.facebook.com/l.php?u={QUOTED}&h=AT0",
        f"https://www.linkedin.com/safety/go?url={QUOTED}&trk=x",
        f"https://www.youtube.com/redirect?event=video&q={QUOTED}",
        f"https://t.umblr.com/redirect?z={QUOTED}&t=x",
        f"https://duckduckgo.com/l/?uddg={QUOTED}",
        f"https://www.bing.com/ck/a?p=1&u=a1{b64(TARGET)}&ntb=1",
        f"https://news.google.com/rss/articles/{GOOGLE_NEWS}?oc=5",
        f"https://tracking.tldrnewsletter.com/CL0/{QUOTED}/1/0100018/abc=371",
        f"https://abc.r.us-east-1.awstrack.me/L0/{QUOTED.replace('%3A', ':', 1)}/1/01000/x=1",
        f"https://click.convertkit-mail.com/x1/y2/{b64(TARGET)}",
        f"https://link.desk.example/click/123.45/{b64(TARGET)}/5b2c",
        f"https://substack.com/redirect/2/{b64(json.dumps({'e': TARGET}))}.sig-nature?utm_source=x",
        f"https://e.customeriomail.com/e/c/{b64(json.dumps({'email_id': 'x', 'href': TARGET}))}/abc",
        f"https://email.mg.example/click/{b64(zlib.compress(json.dumps({'l': TARGET, 'h': 'abcdefgh' * 4}).encode()))}",
        f"https://track.desk.example/?u=5&target={QUOTED}",
        f"https://desk.example/redirect?url={quote(QUOTED, safe='')}",
        f"https://out.desk.example/{TARGET}",
        f"https://eur01.safelinks.protection.outlook.com/?url={quote(f'https://www.google.com/url?q={QUOTED}', safe='')}",
        f"https://www.google.com/url?q={quote(TARGET + '&utm_source=m&fbclid=2', safe='')}",
    ],
)
def test_the_target_is_in_the_link(wrapped: str) -> None:
    assert canonical(wrapped) == TARGET
    assert canonical(canonical(wrapped)) == TARGET


def test_google_news_of_a_long_address_and_amp() -> None:
    assert canonical(f"https://news.google.com/articles/{GOOGLE_NEWS_LONG}") == LONG
    assert canonical("https://www.google.com/amp/s/e.org/story") == "https://e.org/story"
    assert canonical("https://e-org.cdn.ampproject.org/c/s/e.org/story") == "https://e.org/story"


@pytest.mark.parametrize(
    "kept",
    [
        "https://desk.us5.list-manage.com/track/click?u=0abc123&id=def456&e=789",
        "https://u123.ct.sendgrid.net/ls/click?upn=u001.abcDEF-2Bxyz",
        "https://news.google.com/rss/articles/CBMiWkFVX3lxTE1hYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5eg?oc=5",
        "https://twitter.com/intent/tweet?url=https://e.org/a",
        "https://www.facebook.com/sharer/sharer.php?u=https://e.org/a",
        "https://e.org/login?redirect=https://e.org/a",
        "https://web.archive.org/web/2020/https://e.org/a",
        "https://translate.google.com/translate?u=https://e.org/a",
        "https://e.org/story?source=https://f.org/",
        "https://click.e.org/?url=javascript:alert(1)",
        "https://click.e.org/?url=https://localhost",
        "https://urldefense.com/v3/__nonsense",
        "https://go.e.org/x/eyJub3QiOiJqc29u",
        "https://www.google.com/search?q=https://e.org",
        "https://go.dev/blog/?q=https://x.org/a",
        "https://go.dev/blog/?url=https://x.org/a",
        "https://links.e.org/find?q=https://x.org/a",
        "https://links.e.org/find?link=https://x.org/a",
    ],
)
def test_what_holds_no_target_or_has_another_purpose_stays(kept: str) -> None:
    unwrapped = canonical(kept)
    assert unwrapped.split("?")[0] == kept.split("?")[0]


def test_many_layers_and_bombs_end() -> None:
    url = TARGET
    for _ in range(30):
        url = f"https://www.google.com/url?q={quote(url, safe='')}"[:200_000]
    assert canonical(url) == "" or canonical(url).startswith("https://")
    bomb = b64(zlib.compress(b"[" * 50_000_000))
    assert canonical(f"https://click.e.org/{bomb}") in ("", f"https://click.e.org/{bomb}")


@pytest.mark.parametrize(
    "name", ["utm_source", "mc_eid", "fbclid", "_hsenc", "mkt_tok", "wt_mc", "mtm_campaign", "elqTrackId", "gbraid", "ck_subscriber_id"]
)
def test_parameters_of_trackers_go_and_others_stay(name: str) -> None:
    assert canonical(f"https://e.org/?{name}=1&p=2") == "https://e.org/?p=2"

"""How well mails are read, measured on other projects' files: `python -m tests.bench.mails` prints it. The data is named by FEEDLOOP_DATA.

Replies and signatures: talon's test files say what the writer's own words are. Digests: issues of newsletters whose sources show where their items begin.
"""

import html
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from itertools import islice
from pathlib import Path

from services.ingest.items import RawItem
from services.ingest.mail import read_mail
from services.ingest.markup import read_html
from services.ingest.quotes import cut
from services.ingest.signatures import signature_at

DATA = Path(os.environ.get("FEEDLOOP_DATA") or "../shared/data")
OWN = {"sparrow.eml": "Hello", "OLK_SRC_BODY_SECTION.html": "Reply", "reply-separated-by-hr.html": "Hi there Bob"}
NOT_MEASURED = {"reply-quotations-share-block.eml"}  # nothing says what is expected of it


@dataclass(frozen=True)
class Figures:
    """Counts of right, wrongly taken and missed; `files` of which `found` were recognised at all."""

    files: int
    found: int
    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)

    def line(self, what: str) -> str:
        return f"{what:32} {self.found:4} of {self.files:4} files   precision {self.precision:.3f}   recall {self.recall:.3f}"


def replies() -> Figures:
    """talon: is what is kept of a reply exactly the writer's own words? Counted in words: kept rightly, kept wrongly, lost."""
    folder = DATA / "mail" / "talon" / "tests" / "fixtures"
    told: list[tuple[str, str]] = []
    for path in sorted([*folder.glob("standard_replies/*.eml"), *folder.glob("*.eml")]):
        if path.name not in NOT_MEASURED:
            told.append((read_mail(path.read_bytes()).body, OWN.get(path.name, "Hello")))
    for path in sorted([*folder.glob("html_replies/*.html"), *folder.glob("*.html")]):
        text = cut(read_html(path.read_text(encoding="utf-8", errors="replace"), mail=True).text)
        told.append((text, OWN.get(path.name, "Hi. I am fine.")))
    counts = [_common(kept.split(), own.split()) for kept, own in told]
    return Figures(len(told), sum(wrong == missed == 0 for _, wrong, missed in counts), *map(sum, zip(*counts, strict=True)))


def signatures() -> Figures:
    """talon: the lines of the signature. Counted in lines that are not empty."""
    folder = DATA / "mail" / "talon" / "tests" / "fixtures" / "signature" / "emails" / "stripped"
    counts = []
    for path in sorted(folder.glob("*_body")):
        body = path.read_text(encoding="utf-8").replace("#sig#", "").split("\n")
        name = path.name.removesuffix("_body")
        expected = (folder / f"{name}_signature").read_text(encoding="utf-8").replace("#sig#", "").split("\n")
        sender = (folder / f"{name}_sender").read_text(encoding="utf-8").strip()
        taken = [line for line in body[signature_at(body, sender) :] if line.strip()]
        counts.append(_common(taken, [line for line in expected if line.strip()]))
    return Figures(len(counts), sum(wrong == missed == 0 for _, wrong, missed in counts), *map(sum, zip(*counts, strict=True)))


def digests(name: str, step: int = 1) -> Figures:
    """Every `step`th issue of a newsletter sent as HTML: are its items found? Counted in items, by their titles.

    What counts as an item is read from the newsletter's source by its marks. Debian's are bold words that it does not always use, so that some of
    the items that are "wrong" there are items after all.
    """
    files = right = wrong = missed = found = 0
    for markup, titles in islice(NEWSLETTERS[name](), 0, None, step):
        files += 1
        want = {_bare(title) for title in titles} - {""}
        got = [_bare(item.title) for item in read_mail(as_mail(markup)).items if isinstance(item, RawItem)]
        found += bool(got)
        right += sum(title in want for title in got)
        wrong += sum(title not in want for title in got)
        missed += len(want.difference(got))
    return Figures(files, found, right, wrong, missed)


def as_mail(markup: str) -> bytes:
    message = EmailMessage()
    message["From"], message["Subject"], message["Message-ID"] = "Desk <desk@example.org>", "Weekly", "<1@example.org>"
    message.set_content(markup, subtype="html")
    return message.as_bytes()


def _rust() -> Iterator[tuple[str, list[str]]]:
    for text in _texts("this-week-in-rust"):
        text = re.sub(r"<!--.*?-->", "", re.sub(r"^(Title|Number|Date|Category):.*\n", "", text, flags=re.M), flags=re.S)
        yield _rendered(text), [match[1] for match in re.finditer(r"^[*-] .{0,60}?\[([^\]]+(?:\[[^\]]*\][^\]]*)?)\]\(http", text, re.M)]


def _haskell() -> Iterator[tuple[str, list[str]]]:
    for text in _texts("haskell-weekly"):
        yield _rendered(text), [match[1] for match in re.finditer(r"^(?:[-*]\s+|#+ |\*\*|)\[(.+?)\]\(\s*http", text, re.M)]


def _debian() -> Iterator[tuple[str, list[str]]]:
    entry = re.compile(r"<toc-add-entry[^>]*>(.*?)</toc-add-entry>", re.S)
    for text in _texts("debian-news"):
        text = re.sub(r"^#.*\n", "", text, flags=re.M)
        yield entry.sub(r"<h2>\1</h2>", text), entry.findall(text) or re.findall(r"<p>\s*<(?:b|strong)>(.*?)</(?:b|strong)>", text, re.S)


def _ropensci() -> Iterator[tuple[str, list[str]]]:
    for text in _texts("ropensci-news"):
        text = re.sub(r"\A---.*?\n---", "", text, flags=re.S)
        yield _rendered(text), re.findall(r"^### (.+)$", text, re.M)


NEWSLETTERS: dict[str, Callable[[], Iterator[tuple[str, list[str]]]]] = {
    "this-week-in-rust": _rust,
    "haskell-weekly": _haskell,
    "debian-news": _debian,
    "ropensci-news": _ropensci,
}


def _texts(name: str) -> Iterator[str]:
    for path in sorted((DATA / "newsletters" / name).iterdir()):
        yield path.read_text(encoding="utf-8", errors="replace")


def _rendered(markdown: str) -> str:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": True}).render(markdown)


def _bare(title: str) -> str:
    return re.sub(r"\W+", " ", html.unescape(re.sub(r"<[^>]+>|[`*_]|\[|\]", "", title))).strip().casefold()[:80]


def _common(taken: list[str], expected: list[str]) -> tuple[int, int, int]:
    rest = list(expected)
    right = 0
    for one in taken:
        if one in rest:
            rest.remove(one)
            right += 1
    return right, len(taken) - right, len(rest)


def main() -> None:
    if not (DATA / "mail").is_dir():
        raise SystemExit(f"there is no {DATA / 'mail'}: name the folder of the data in FEEDLOOP_DATA")
    print(replies().line("talon: replies (words)"))
    print(signatures().line("talon: signatures (lines)"))
    for name in NEWSLETTERS:
        print(digests(name).line(f"{name} (items)"))


if __name__ == "__main__":
    main()

"""The page in a real browser, before the real feedback service and the real broker: reading, correcting, keys, search, the loop, a phone."""

import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, async_playwright, expect

from deploy.local.kafka import KafkaProcess
from deploy.local.state import State
from shared.bus import Bus
from shared.envelope import parse
from shared.events import (
    Decision,
    DocumentClassified,
    FeedbackGiven,
    GateCheck,
    GateReport,
    LabelScore,
    Metadata,
    ModelActivated,
    ModelPublished,
    ModelStamp,
    PartScore,
    SourcePolled,
    SourceRef,
    TrainingFinished,
    TrainingProgressed,
)
from tests.conftest import Service
from tests.support.records import NOON, classified
from tests.support.services import ServiceProcess
from tests.support.topics import read
from tests.support.waiting import until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.kafka,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: install one (Debian: apt-get install chromium)"),
]
HOSTILE = '<img src=x onerror="window.owned=1"> <script>window.owned=2</script>'
GIVEN = "feedback.given.v1"
HELP = "Call Ana at the front desk.\n\nA person must decide."
DESK = """
label_sets:
  desk:
    tasks:
      topics: {meaning: what it is about, kind: multi, labels: {war: fighting, oil: its price, ships: at sea}}
      urgency: {meaning: how soon, kind: ordinal, labels: {later: this week, soon: today, now: at once}}
"""
PLAIN = 5  # items that have nothing to do with the queue
ITEMS = PLAIN + 5


def for_the_queue() -> list[DocumentClassified]:
    """Three messages, two of which may be from somebody who needs help, and two items of a desk's own label set; all older than the others."""

    def verdict(label: str, **more: object) -> Decision:
        return Decision.model_validate({"label": label, "probability": 0.9, "by": "fusion", "reasons": ["together so"], **more})

    def message(n: int, title: str, **decision: Decision) -> DocumentClassified:
        at = NOON - timedelta(hours=n)
        told = classified(n, title, f"{title} And a little more.", collection="wellbeing", received_at=at, published_at=at, as_of=at, stage="final")
        return told.model_copy(update={"decision": decision})

    said = [PartScore(part="llm", label="self_harm_high", probability=0.94), PartScore(part="neural", label="sadness", probability=0.5)]
    torn = {"possible": ["neutral", "sadness"], "probabilities": {"neutral": 0.5, "sadness": 0.5}, "unsure": True, "probability": 0.5}
    topics = {"labels": ["war", "oil"], "probabilities": {"war": 0.9, "oil": 0.8, "ships": 0.1}}
    between = {"possible": ["soon", "now"], "probabilities": {"later": 0.1, "soon": 0.5, "now": 0.4}, "unsure": True, "probability": 0.5}
    by_rule = {"by": "rule", "probability": 1.0, "reasons": ["rule wish: these words are for a person to read"]}
    desk = message(15, "A quiet day at the port.", topics=verdict("war", **topics), urgency=verdict("later", expected_rank=0.1))
    two = message(14, "Tankers turn round in the strait.", topics=verdict("war", **topics), urgency=verdict("soon", expected_rank=1.3, **between))
    return [
        message(11, "It has all been too much lately.", emotion=verdict("stress"), risk=verdict("low"), stress=verdict("high", expected_rank=1.9)),
        message(12, "Nobody would miss me.", emotion=verdict("self_harm_high", parts=said), risk=verdict("high", **by_rule), stress=verdict("low")),
        message(13, "I went to the shop.", emotion=verdict("neutral", **torn), risk=verdict("none"), stress=verdict("none")),
        *(item.model_copy(update={"collection": "desk"}) for item in (two, desk)),
    ]


async def fill(bootstrap: str) -> None:
    """A handful of items, one of them hostile, and a loop with a live adapter, a refused run and a failing source."""
    report = GateReport(
        passed=True, checks=[GateCheck(name="enough examples", passed=True, detail="26 held out")], held_out=26, accuracy_candidate=0.8
    )
    refused = report.model_copy(update={"passed": False, "refused_because": "answers differ: 96% of its answers are 'world'"})
    read_by_llm = {
        "stage": "final",
        "model": ModelStamp(base="model-1", adapter="c0ffee" * 10, name="adapter-c0ffee"),
        "verdict": {"category": LabelScore(label="health", probability=0.9)},
        "metadata": Metadata(
            key_topics=["flu season"], entities=["Torvik"], sentiment="neutral", urgency_level="normal", categories=["health"],
            related_links=[], summary="Flu season starts early.", action_items=[],
        ),
    }  # fmt: skip
    events = [
        classified(0, HOSTILE, f"{HOSTILE} and a text after it"),
        classified(1, "Inflation in Valdria slows to 3.1 percent", "Consumer prices rose by 3.1 percent in October.", "business"),
        classified(2, "Flu season starts early", "Flu season starts early. Influenza has arrived in Torvik.", "health", **read_by_llm),
        classified(3, "Rivet language drops its semicolons", "After a vote, the language will do without semicolons.", "culture"),
        classified(4, "Postmen's club knocks league leaders out", "Postal FC beat Elmstadt United 2-1 on Wednesday.", "sport"),
        *for_the_queue(),
        ModelPublished(
            role="adapter", digest="c0ffee" * 10, base="model-1", run_id="r1", report=report, reason="100 new corrections", published_at=NOON
        ),
        ModelActivated(
            replica="inference-0", role="adapter", digest="c0ffee" * 10, outcome="active", serving="c0ffee" * 10, probes=16, probes_agreed=16, at=NOON
        ),
        TrainingFinished(run_id="r1", outcome="published", digest="c0ffee" * 10, report=report, seconds=70, finished_at=NOON),
        TrainingFinished(
            run_id="r2", outcome="refused", reason=refused.refused_because, report=refused, seconds=9, finished_at=NOON + timedelta(hours=1)
        ),
        TrainingProgressed(run_id="r3", phase="training", step=3, steps=40, loss=0.7, at=NOON + timedelta(hours=2)),
        SourcePolled(source=SourceRef(id="desk", kind="feed", title="The Test Desk"), state="ok", items=5, last_success=NOON, at=NOON),
        SourcePolled(source=SourceRef(id="gone", kind="feed", title="Gone Gazette"), state="failing", reason="HTTP 503", at=NOON),
    ]
    bus = Bus(bootstrap, "tests")
    await bus.start()
    try:
        await bus.publish(*events)
    finally:
        await bus.stop()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield opened
        finally:
            await opened.close()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def feedback(module_broker: KafkaProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServiceProcess]:
    await fill(module_broker.bootstrap)
    folder = tmp_path_factory.mktemp("page")
    (folder / "desk.yaml").write_text(DESK)
    (folder / "help.txt").write_text(HELP)
    env = {"FEEDLOOP_LABELS": str(folder / "desk.yaml"), "FEEDLOOP_HELP_TEXT_FILE": str(folder / "help.txt")}
    process = ServiceProcess("feedback", State("page", folder), {"KAFKA_BOOTSTRAP_SERVERS": module_broker.bootstrap, **env})
    process.start()
    try:
        await process.ready()
        yield process
    finally:
        process.stop()


def watched(page: Page) -> list[str]:
    """What goes wrong on the page: errors, requests to elsewhere, dialogs."""
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    page.on("dialog", lambda dialog: troubles.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: troubles.append(f"request: {request.url}") if "//127.0.0.1" not in request.url else None)
    return troubles


async def test_reading_correcting_and_keys(feedback: ServiceProcess, module_broker: KafkaProcess, browser: Browser, tmp_path: Path) -> None:
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    troubles = watched(page)
    await page.goto(feedback.url)
    items = page.get_by_test_id("item")
    await expect(items).to_have_count(ITEMS)
    await expect(page.get_by_test_id("stream-state")).to_have_text("live")

    hostile = items.filter(has_text="onerror")
    await expect(hostile.get_by_test_id("title")).to_have_text(HOSTILE)
    await hostile.get_by_test_id("title").click()
    await expect(page.get_by_test_id("open-title")).to_have_text(HOSTILE)
    await expect(page.get_by_test_id("text")).to_contain_text("and a text after it")
    assert await page.evaluate("window.owned") is None, "what a feed says is text, never a script"
    assert await page.locator("main img[src='x']").count() == 0

    economy = items.filter(has_text="Valdria")
    await economy.get_by_test_id("chip-category").click()
    await page.get_by_test_id("correct-economy").click()
    await expect(economy.get_by_test_id("chip-category")).to_contain_text("economy")
    await expect(economy.get_by_test_id("undo")).to_be_visible()

    async def arrived() -> list[FeedbackGiven]:
        return [parse(FeedbackGiven, record) for record in await read(module_broker.bootstrap, GIVEN)]

    [given] = await until("the correction is in Kafka", 10, arrived)
    assert (given.kind, given.task, given.correct, given.incorrect) == ("correction", "category", "economy", "business")
    assert given.document is not None and given.document.title.startswith("Inflation in Valdria") and given.document_id == given.document.id

    await expect(page.get_by_test_id("toast").filter(has_text="Corrected")).to_be_visible()  # the answer has come: now it can be undone
    await economy.get_by_test_id("undo").click()

    async def taken_back() -> FeedbackGiven | None:
        return next((said for said in await arrived() if said.kind == "retraction"), None)

    assert (await until("the retraction is in Kafka", 10, taken_back)).retracts == given.id
    await expect(economy.get_by_test_id("chip-category")).to_contain_text("business")
    await page.screenshot(path=tmp_path / "items-wide.png")
    assert (tmp_path / "items-wide.png").stat().st_size > 10_000
    assert troubles == []
    await page.close()


async def test_the_keyboard_alone_will_do(feedback: ServiceProcess, module_broker: KafkaProcess, browser: Browser) -> None:
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    troubles = watched(page)
    await page.goto(feedback.url)
    await expect(page.get_by_test_id("item")).to_have_count(ITEMS)
    titles = await page.get_by_test_id("item").get_by_test_id("title").all_text_contents()  # a row not painted yet has no inner text
    assert len(titles) == ITEMS and titles[0].startswith("Postmen"), "newest first"
    for key in ("j", "j", "j", "k"):
        await page.keyboard.press(key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("open-title")).to_have_text(titles[1])
    await page.keyboard.press("y")

    async def confirmed() -> bool:  # each task is confirmed by a record of its own, in any order
        said = [parse(FeedbackGiven, record) for record in await read(module_broker.bootstrap, GIVEN)]
        return "category" in {one.task for one in said if one.kind == "confirmation"}

    await until("the confirmation of the category is in Kafka", 10, confirmed)
    await page.keyboard.press("/")
    await page.keyboard.type("semicolons")
    await expect(page.get_by_test_id("item")).to_have_count(1)
    await expect(page.get_by_test_id("item").get_by_test_id("title")).to_have_text(titles[1])
    await page.get_by_test_id("filter-q").fill("nothing holds these words")
    await expect(page.get_by_test_id("items-empty")).to_be_visible()
    assert troubles == []
    await page.close()


async def test_the_loop_and_a_neighbour_that_is_away(feedback: ServiceProcess, browser: Browser, tmp_path: Path) -> None:
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    troubles = watched(page)
    await page.goto(f"{feedback.url}/#loop")
    await expect(page.get_by_test_id("live-digest")).to_have_attribute("data-digest", "c0ffee" * 10)
    await expect(page.get_by_test_id("replicas")).to_contain_text("16 of 16")
    await expect(page.get_by_test_id("run")).to_have_count(2)
    await expect(page.locator("[data-testid=run][data-outcome=refused]")).to_contain_text("answers differ")
    await expect(page.get_by_test_id("progress")).to_contain_text("step 3 of 40")
    await expect(page.get_by_test_id("source")).to_have_count(2)
    await expect(page.get_by_test_id("sources")).to_contain_text("HTTP 503")
    await page.screenshot(path=tmp_path / "loop-wide.png")
    await page.get_by_test_id("tab-ask").click()
    await page.get_by_test_id("ask-input").fill("Who has flu?")
    await page.keyboard.press("Enter")
    await expect(page.locator("#ask-out")).to_contain_text("retriever does not answer"), "no retriever runs here, and the page says so"
    assert [trouble for trouble in troubles if not trouble.startswith("request:")] == []
    await page.close()


async def test_how_far_heads_of_own_label_sets_are(feedback: ServiceProcess, browser: Browser, tmp_path: Path) -> None:
    """No trainer runs here: what it would say is put into the answer."""
    missing = "5 more of 12 corrections or confirmations"
    wordy = "<b>" + "much_" * 30
    begun = {"collection": "desk", "task": "topics", "examples": 7, "more": 5, "ready": False, "missing": missing}
    done = {"collection": "desk", "task": "urgency", "examples": 20, "more": 0, "ready": True, "missing": ""}
    heads = [
        {**begun, "counts": {"war": 7, "oil": 0, wordy: 0}, "silent": ["oil", wordy]},
        {**done, "counts": {"later": 10, "soon": 6, "now": 4}, "silent": []},
        {**begun, "task": "tone", "counts": {"warm": 0, "cold": 0}, "silent": ["warm", "cold"], "examples": 0, "more": 12},
    ]

    async def with_heads(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, json={**await answer.json(), "heads": heads})

    page = await browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    troubles = watched(page)
    await page.goto(f"{feedback.url}/#loop")
    await expect(page.get_by_test_id("source")).to_have_count(2)
    await expect(page.get_by_test_id("own-heads")).to_have_count(0)
    await page.route("**/api/loop", with_heads)
    await page.reload()
    first, second, third = (page.get_by_test_id("own-head").nth(n) for n in range(3))
    await expect(first).to_contain_text("desk: topics")
    await expect(first.get_by_test_id("missing")).to_have_text(missing)
    await expect(first.get_by_test_id("silent")).to_contain_text(f"nothing said yet of: oil, {wordy}. Confirm some verdicts with these labels")
    await expect(first.get_by_role("progressbar", name="desk, topics")).to_have_attribute("value", "7")
    await expect(second).to_have_attribute("data-ready", "true")
    await expect(second).to_contain_text("a head is trained from these corrections")
    await expect(page.get_by_test_id("silent")).to_have_count(1), "neither where all was named, nor where nothing was said yet"
    await expect(third).to_be_visible()
    wider = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wider <= 0, f"{wider} pixels wider than a phone"
    await page.get_by_test_id("own-heads").scroll_into_view_if_needed()
    await page.screenshot(path=tmp_path / "own-heads-390.png")
    assert troubles == []
    await page.close()


async def test_which_words_moved_the_head(feedback: ServiceProcess, browser: Browser, tmp_path: Path) -> None:
    """No classifier runs here: the page says so; then what it would say is put into the answer."""
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    troubles = watched(page)
    await page.goto(feedback.url)
    await page.get_by_test_id("item").filter(has_text="too much lately").get_by_test_id("title").click()
    await page.get_by_test_id("which-words-emotion").click()
    await expect(page.get_by_test_id("moved-emotion")).to_contain_text("the classifier does not answer")
    span = {"field": "text", "start": 0, "end": 1, "words": "<b>too much", "drop": 0.41}

    async def answered(route: Route) -> None:
        await route.fulfill(json={"mattered": {"emotion": [span], "risk": []}, "head_digest": "another"})

    await page.route("**/mattered", answered)
    await page.get_by_test_id("which-words-emotion").click()
    word = page.get_by_test_id("moved-emotion").get_by_role("listitem")
    await expect(word).to_have_text("<b>too much")
    await expect(word).to_have_attribute("title", "without it the neural head gives this label 41% less")
    await expect(page.get_by_test_id("moved-emotion")).to_contain_text("not the one of this verdict")
    await page.get_by_test_id("evidence-risk").locator("summary").click()
    await page.get_by_test_id("which-words-risk").click()
    await expect(page.get_by_test_id("moved-risk").get_by_text("No single words stand out.")).to_be_visible()
    await page.screenshot(path=tmp_path / "moved.png")
    assert [trouble for trouble in troubles if not trouble.startswith("request:")] == []
    await page.close()


async def test_a_phone(feedback: ServiceProcess, browser: Browser, tmp_path: Path) -> None:
    page = await browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    troubles = watched(page)
    await page.goto(feedback.url)
    await expect(page.get_by_test_id("item")).to_have_count(ITEMS)
    for view in ("items", "ask", "loop"):
        await page.get_by_test_id(f"tab-{view}").click()
        wider = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0, f"{view} is {wider} pixels wider than a phone"
        await page.screenshot(path=tmp_path / f"{view}-390.png")
    await page.get_by_test_id("tab-items").click()
    await page.get_by_test_id("item").filter(has_text="Flu season").get_by_test_id("title").click()
    await expect(page.get_by_test_id("open-title")).to_be_in_viewport()
    await expect(page.get_by_test_id("summary")).to_have_text("Flu season starts early.")
    await page.get_by_test_id("back").click()
    await expect(page.get_by_test_id("item").first).to_be_in_viewport()
    assert troubles == []
    await page.close()


async def test_what_needs_a_look_comes_first_and_leaves_when_it_was_judged(
    feedback: ServiceProcess, module_broker: KafkaProcess, browser: Browser, tmp_path: Path
) -> None:
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    troubles = watched(page)
    await page.goto(feedback.url)
    rows = page.get_by_test_id("item")
    await expect(rows).to_have_count(ITEMS)
    await expect(page.get_by_test_id("look-count")).to_have_text("4")
    await page.get_by_test_id("order-review").click()
    await expect(page.get_by_test_id("group-safety")).to_contain_text("May need help")
    titles = await rows.get_by_test_id("title").all_text_contents()
    # of the unsure ones: two of three labels are likely (entropy 86% of the highest), and two of eight (33%)
    assert [title.split()[0] for title in titles[:4]] == ["Nobody", "It", "Tankers", "I"], titles
    grave, lesser = rows.nth(0), rows.nth(1)
    await expect(grave.get_by_test_id("chip-risk")).to_have_text("may need help now")
    await expect(lesser.get_by_test_id("chip-risk")).to_have_text("may need help")
    await expect(grave.get_by_test_id("chip-emotion")).to_have_count(0)  # it says the same again
    await expect(lesser.get_by_test_id("chip-stress")).to_have_text("stress: high")
    await page.screenshot(path=tmp_path / "queue-wide.png")

    await grave.get_by_test_id("title").click()
    await expect(page.get_by_test_id("care")).to_contain_text("Whoever wrote this may need help now.")
    await expect(page.get_by_test_id("care")).to_contain_text("no diagnosis")
    await expect(page.get_by_test_id("help-text").locator("p")).to_have_text(HELP.split("\n\n"))
    assert "self_harm" not in await page.get_by_test_id("detail").inner_text(), "the label's name stands behind a fold"
    await page.get_by_test_id("evidence-emotion").locator("summary").click()
    await expect(page.get_by_test_id("verdict-emotion")).to_contain_text("self_harm_high")
    await page.screenshot(path=tmp_path / "care-wide.png")

    await page.keyboard.press("y")  # confirmed: it leaves the queue, stays open, and can be undone
    await expect(page.get_by_test_id("toast").filter(has_text="may need help now")).to_be_visible()
    await expect(rows.filter(has_text="Nobody would")).to_have_count(0)
    await expect(page.get_by_test_id("open-title")).to_have_text("Nobody would miss me.")
    await expect(page.get_by_test_id("look-count")).to_have_text("3")
    await page.keyboard.press("j")
    await expect(page.get_by_test_id("open-title")).to_have_text("It has all been too much lately.")
    await page.get_by_test_id("open-chip-stress").click()
    await page.get_by_test_id("correct-low").click()
    await expect(page.get_by_test_id("toast").filter(has_text="stress is low")).to_be_visible()
    await expect(rows.filter(has_text="too much lately")).to_have_count(1), "a word on another task is no look at the safety label"

    await page.keyboard.press("j")
    await expect(page.get_by_test_id("open-title")).to_contain_text("Tankers")
    await expect(page.get_by_test_id("open-chip-topics")).to_have_text("war, oil")
    await expect(page.get_by_test_id("scale-urgency").locator("li[aria-current]")).to_have_text("soon")
    await page.screenshot(path=tmp_path / "unsure-wide.png")
    await page.get_by_test_id("open-chip-topics").click()
    await page.get_by_test_id("correct-oil").click()
    await page.keyboard.press("3")  # ships
    await page.screenshot(path=tmp_path / "several-wide.png")
    await page.get_by_test_id("correct-save").click()
    await expect(page.get_by_test_id("open-chip-topics")).to_contain_text("war, ships")
    await expect(rows.filter(has_text="Tankers")).to_have_count(0)

    async def arrived() -> FeedbackGiven | None:
        said = [parse(FeedbackGiven, record) for record in await read(module_broker.bootstrap, GIVEN)]
        return next((one for one in said if one.task == "topics"), None)

    given = await until("the correction is in Kafka", 10, arrived)
    assert given is not None and (given.correct, given.incorrect) == ("war, ships", "war, oil")
    await page.keyboard.press("u")  # it comes back, behind the button, and then where it was
    await page.get_by_test_id("new-items").click()
    await expect(rows.filter(has_text="Tankers")).to_have_count(1)

    await rows.filter(has_text="to the shop").get_by_test_id("title").click()
    await expect(page.get_by_test_id("open-title")).to_have_text("I went to the shop.")
    await page.get_by_test_id("settle-emotion-neutral").click()
    await expect(rows.filter(has_text="to the shop")).to_have_count(0)
    await page.keyboard.press("q")
    await expect(page.get_by_test_id("order-newest")).to_have_attribute("aria-pressed", "true")
    await expect(rows).to_have_count(ITEMS)
    assert troubles == []
    await page.close()


async def test_the_queue_on_a_phone(feedback: ServiceProcess, browser: Browser, tmp_path: Path) -> None:
    page = await browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="dark")
    troubles = watched(page)
    await page.goto(feedback.url)
    await page.get_by_test_id("order-review").click()
    await expect(page.get_by_test_id("group-unsure")).to_be_visible()
    await page.screenshot(path=tmp_path / "queue-390.png")
    await page.get_by_test_id("item").filter(has_text="too much lately").get_by_test_id("title").click()
    await expect(page.get_by_test_id("help-text")).to_be_visible()
    wider = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wider <= 0, f"{wider} pixels wider than a phone"
    await page.screenshot(path=tmp_path / "care-390.png")
    await page.get_by_test_id("back").click()
    await page.get_by_test_id("item").filter(has_text="Tankers").get_by_test_id("title").click()
    await expect(page.get_by_test_id("unsure-urgency")).to_be_visible()
    await page.screenshot(path=tmp_path / "unsure-390.png")
    assert troubles == []
    await page.close()


async def test_the_token_is_asked_for(module_broker: KafkaProcess, service: Service, browser: Browser) -> None:
    process = service("feedback", module_broker, FEEDLOOP_TOKEN="let-me-in")  # it reads without a group, so it may stand beside the other
    await process.ready()
    page = await browser.new_page()
    await page.goto(process.url)
    for token in ("wrong", "let-me-in"):
        await expect(page.get_by_test_id("token")).to_be_visible()
        await page.get_by_test_id("token").fill(token)
        await page.get_by_test_id("token-save").click()
    await expect(page.get_by_test_id("item")).to_have_count(ITEMS)
    await page.close()

"""The page in a real browser, before the real feedback service and the real broker: reading, correcting, keys, search, the loop, a phone."""

import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from deploy.local.kafka import KafkaProcess
from deploy.local.state import State
from shared.bus import Bus
from shared.envelope import parse
from shared.events import (
    FeedbackGiven,
    GateCheck,
    GateReport,
    LabelScore,
    Metadata,
    ModelActivated,
    ModelPublished,
    ModelStamp,
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
    process = ServiceProcess("feedback", State("page", tmp_path_factory.mktemp("page")), {"KAFKA_BOOTSTRAP_SERVERS": module_broker.bootstrap})
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
    await expect(items).to_have_count(5)
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
    await expect(page.get_by_test_id("item")).to_have_count(5)
    titles = await page.get_by_test_id("item").get_by_test_id("title").all_text_contents()  # a row not painted yet has no inner text
    assert len(titles) == 5 and titles[0].startswith("Postmen"), "newest first"
    for key in ("j", "j", "j", "k"):
        await page.keyboard.press(key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("open-title")).to_have_text(titles[1])
    await page.keyboard.press("y")

    async def confirmed() -> set[str]:
        said = [parse(FeedbackGiven, record) for record in await read(module_broker.bootstrap, GIVEN)]
        return {one.task for one in said if one.kind == "confirmation"}

    assert "category" in await until("the confirmation is in Kafka", 10, confirmed)
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


async def test_a_phone(feedback: ServiceProcess, browser: Browser, tmp_path: Path) -> None:
    page = await browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    troubles = watched(page)
    await page.goto(feedback.url)
    await expect(page.get_by_test_id("item")).to_have_count(5)
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


async def test_the_token_is_asked_for(module_broker: KafkaProcess, service: Service, browser: Browser) -> None:
    process = service("feedback", module_broker, FEEDLOOP_TOKEN="let-me-in")  # it reads without a group, so it may stand beside the other
    await process.ready()
    page = await browser.new_page()
    await page.goto(process.url)
    for token in ("wrong", "let-me-in"):
        await expect(page.get_by_test_id("token")).to_be_visible()
        await page.get_by_test_id("token").fill(token)
        await page.get_by_test_id("token-save").click()
    await expect(page.get_by_test_id("item")).to_have_count(5)
    await page.close()

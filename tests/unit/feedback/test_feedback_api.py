"""The API: what a person says becomes an event, or is refused in one clear line."""

import pytest

from services.classifier.api import MatteredRequest
from services.feedback.neighbours import Neighbours
from shared.events import Decision, FeedbackGiven
from shared.taxonomy import use

GIVE = "/api/feedback"


async def give(client, **said):
    return await client.post(GIVE, json=said)


async def test_a_correction_carries_what_was_judged(served, item):
    bus, client = served
    bus.tell(item(1))
    answer = await give(client, document_id="d001", task="category", correct="economy", why="it is about rates", by="ana")
    assert answer.status_code == 202
    (event,) = bus.published
    assert isinstance(event, FeedbackGiven) and event.id == answer.json()["id"]
    assert (event.kind, event.correct, event.incorrect, event.why, event.by) == ("correction", "economy", "business", "it is about rates", "ana")
    assert (event.document.id, event.title, event.text, event.story) == ("d001", "Title 1", "Text 1 of the day", "story1")
    (standing,) = (await client.get("/api/items/d001")).json()["feedback"]
    assert standing["correct"] == "economy"


async def test_the_words_that_mattered_are_asked_of_the_classifier(served, item, monkeypatch):
    bus, client = served
    decided = {
        "category": Decision(label="business", probability=0.8, by="fusion", reasons=["together"]),
        "risk": Decision(label="none", probability=1.0, by="rule", reasons=["a rule"]),
    }
    bus.tell(item(1, title="T" * 2_000, text="x" * 90_000).model_copy(update={"decision": decided}), item(2))
    away = await client.get("/api/items/d001/mattered")
    assert away.status_code == 503 and "the classifier does not answer" in away.json()["error"]
    asked = []

    async def call(self, name, method, path, *, json):
        asked.append((name, method, path, MatteredRequest.model_validate(json)))
        return {"mattered": {"category": []}, "head_digest": "h"}

    monkeypatch.setattr(Neighbours, "call", call)
    assert (await client.get("/api/items/d001/mattered")).json() == {"mattered": {"category": []}, "head_digest": "h"}
    [(name, method, path, said)] = asked
    assert (name, method, path, said.labels, said.collection) == ("classifier", "POST", "/api/mattered", {"category": "business"}, "news")
    assert (await client.get("/api/items/d002/mattered")).json()["mattered"] == {}, "the model alone decided it: no head was asked"
    assert len(asked) == 1 and (await client.get("/api/items/d999/mattered")).status_code == 404


async def test_a_confirmation_has_nothing_incorrect(served, item):
    bus, client = served
    bus.tell(item(1))
    assert (await give(client, document_id="d001", kind="confirmation", task="category", correct="business")).status_code == 202
    assert bus.published[0].incorrect == ""


async def test_a_retraction_takes_it_back(served, item):
    bus, client = served
    bus.tell(item(1))
    given = (await give(client, document_id="d001", task="category", correct="economy")).json()["id"]
    assert (await give(client, document_id="d001", kind="retraction", retracts=given)).status_code == 202
    assert bus.published[-1].retracts == given
    assert (await client.get("/api/items/d001")).json()["feedback"] == []


async def test_a_bare_text_may_be_labelled_and_taken_back(served):
    bus, client = served
    given = await give(client, title="A flaw", text="in a server", task="category", correct="security", incorrect="technology")
    event = bus.published[0]
    assert given.status_code == 202 and event.document is None and event.document_id.startswith("text-") and event.incorrect == "technology"
    back = await give(client, title="A flaw", text="in a server", kind="retraction", retracts=event.id)
    assert back.status_code == 202 and bus.published[1].document_id == event.document_id


async def test_the_same_id_twice_is_one_event(served, item):
    bus, client = served
    bus.tell(item(1))
    for _ in range(2):
        answer = await give(client, id="mine", document_id="d001", task="category", correct="economy")
        assert (answer.status_code, answer.json()["id"]) == (202, "mine")
    assert len(bus.published) == 1
    bus.tell(item(2))
    other = await give(client, id="mine", document_id="d002", task="category", correct="economy")
    assert other.status_code == 409 and "feedback on another document, 'd001'" in other.json()["error"] and len(bus.published) == 1


@pytest.mark.parametrize(
    ("said", "status", "word"),
    [
        ({"document_id": "nope", "task": "category", "correct": "economy"}, 404, "no document 'nope'"),
        ({"document_id": "d001", "task": "category", "correct": "gossip"}, 422, "no label 'gossip' in task 'category'; it has politics"),
        ({"document_id": "d001", "task": "horoscope", "correct": "x"}, 422, "no task 'horoscope'"),
        ({"document_id": "d001"}, 422, "no task ''"),
        ({"task": "category", "correct": "economy"}, 422, "document_id, or the title and text"),
        ({"document_id": "d001", "kind": "retraction", "retracts": "nope"}, 404, "no feedback 'nope'"),
        ({"document_id": "d001", "kind": "shouting"}, 422, "kind"),
        ({"document_id": "d001", "task": "category", "correct": "economy", "why": "x" * 3000}, 422, "why"),
        ({"title": "a", "task": "category", "correct": "economy", "collection": "../../feedloop"}, 422, "collection"),
        (["not", "an", "object"], 422, "body"),
    ],
)
async def test_what_is_wrong_is_said_in_one_line_and_nothing_is_published(served, item, said, status, word):
    bus, client = served
    bus.tell(item(1))
    answer = await client.post(GIVE, json=said)
    assert answer.status_code == status
    assert word in answer.json()["error"] and "\n" not in answer.json()["error"]
    assert bus.published == []


async def test_a_body_that_is_no_json_is_refused(served):
    assert (await served[1].post(GIVE, content=b"{")).status_code == 422


async def test_labels_are_of_the_collections_there_are_and_of_no_other_file(served):
    _, client = served
    assert "category" in (await client.get("/api/labels")).json()["tasks"]
    assert (await client.get("/api/labels?collection=unknown")).json()["collection"] == "news"
    for name in ("../../docker-compose", "/etc/x", "a%00b", "news%0A", ""):
        assert (await client.get(f"/api/labels?collection={name}")).status_code == 422


async def test_the_page_keeps_to_itself(served):
    _, client = served
    for path in ("/", "/static/main.js"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert (
            "default-src 'self'" in answer.headers["content-security-policy"]
            and "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        )
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"] == "no-referrer"
    assert (await client.get("/static/%2e%2e/api.py")).status_code == 404


async def test_with_a_token_only_the_page_itself_is_open(settings, start, item):
    async with start(settings.model_copy(update={"token": "open sesame"})) as (bus, client):
        bus.tell(item(1))
        for path in ("/", "/static/main.js", "/api/labels", "/health"):
            assert (await client.get(path)).status_code == 200
        for path in ("/api/items", "/api/loop", "/api/items/d001", "/api/stream", "/static/../api/items"):
            answer = await client.get(path)
            assert answer.status_code == 401 and "FEEDLOOP_TOKEN" in answer.json()["error"]
        assert (await client.post(GIVE, json={})).status_code == 401
        assert (await client.get("/api/items", headers={"authorization": "Bearer wrong"})).status_code == 401
        assert (await client.get("/api/items", headers={"authorization": "Bearer open sesame"})).status_code == 200


async def test_paging_neither_repeats_nor_skips_while_new_items_come(served, item):
    bus, client = served
    at = item(5).received_at
    bus.tell(*(item(n) for n in range(40)), *(item(n, received_at=at) for n in range(40, 50)))  # ten at the very same time
    seen, before, new = [], "", 100
    while True:
        page = (await client.get("/api/items", params={"limit": "7", "before": before})).json()
        seen += [shown["id"] for shown in page["items"]]
        bus.tell(item(new))  # newer than all
        new += 1
        if not (before := page["next"]):
            break
    assert len(seen) == len(set(seen)) == 50 and set(seen) == {f"d{n:03}" for n in range(50)}


async def test_filters(served, item):
    bus, client = served
    bus.tell(item(1, "sport"), item(2, "sport", stage="provisional"), item(3, "economy", text="the Eels follow a smell"))

    async def ids(**ask):
        page = (await client.get("/api/items", params=ask)).json()
        return [shown["id"] for shown in page["items"]], page["total"]

    assert await ids() == (["d003", "d002", "d001"], 3)
    assert await ids(label="category:sport") == (["d002", "d001"], 2)
    assert await ids(label="category:sport", stage="final") == (["d001"], 1)
    assert await ids(q="eels SMELL") == (["d003"], 1) and await ids(q="northern post", limit="1") == (["d003"], 3)
    assert await ids(q="nothing of the kind") == ([], 0)
    assert (await client.get("/api/items?limit=many")).status_code == 422
    assert (await client.get("/api/items/nope")).json() == {"error": "no document 'nope' here"}


async def test_the_queue_is_an_order_of_its_own(served, item):
    bus, client = served
    doubt = Decision(label="sport", probability=0.5, by="fusion", reasons=["so"], unsure=True, possible=["sport", "world"])
    bus.tell(item(1).model_copy(update={"decision": {"category": doubt}}), item(2, "sport"), item(3))

    async def ids(**ask):
        page = (await client.get("/api/items", params={"order": "review", **ask})).json()
        return [shown["id"] for shown in page["items"]], page["next"]

    whole, _ = await ids()
    first, more = await ids(limit="1")
    assert whole == ["d001", "d003", "d002"] and first == ["d001"] and (await ids(before=more))[0] == ["d003", "d002"]
    assert (await ids(label="category:sport"))[0] == ["d001", "d002"]
    assert (await client.get("/api/items/d001")).json()["review"]["why"] == "unsure"
    await give(client, document_id="d001", task="category", correct="world")
    assert (await ids())[0] == ["d003", "d002"]
    wrong = await client.get("/api/items?order=oldest")
    assert (wrong.status_code, wrong.json()["error"]) == (422, "order: newest or review")
    mixed = await client.get("/api/items", params={"before": more})
    assert mixed.status_code == 422 and "of another order" in mixed.json()["error"]


async def test_all_labels_of_a_multi_task_are_found_and_corrected(served, item, tmp_path):
    own = tmp_path / "labels"
    own.mkdir()
    (own / "desk.yaml").write_text("collection: desk\ntasks:\n  topics: {meaning: m, kind: multi, labels: {war: w, oil: o, ships: s}}\n")
    use(own)
    try:
        bus, client = served
        topics = Decision(label="oil", labels=["war", "oil"], probability=0.9, by="llm", reasons=["so"])
        bus.tell(item(1, collection="desk").model_copy(update={"decision": {"topics": topics}}))
        for label in ("war", "oil"):
            assert (await client.get(f"/api/items?label=topics:{label}")).json()["total"] == 1
        assert (await client.get("/api/items?label=topics:ships")).json()["total"] == 0
        assert (await give(client, document_id="d001", task="topics", correct="none")).status_code == 202
        assert bus.published[0].incorrect == "war, oil"
        assert (await give(client, document_id="d001", kind="confirmation", task="topics", correct="war, oil")).status_code == 202
        assert bus.published[1].incorrect == ""
    finally:
        use(None)


async def test_without_its_neighbours_the_state_is_shown_and_the_rest_says_who_is_away(served, item):
    bus, client = served
    bus.tell(item(1))
    state = (await client.get("/api/loop")).json()
    assert (state["documents"], state["waiting"], state["heads"], state["quarantined"], state["live"]) == (1, None, None, None, [])
    for answer in (
        await client.get("/api/search?q=x"),
        await client.post("/api/ask", json={"question": "x?"}),
        await client.post("/api/models/rollback", json={}),
    ):
        assert answer.status_code == 503 and "does not answer" in answer.json()["error"]
    assert (await client.post("/api/ask", json={"question": ""})).status_code == 422


async def test_how_far_heads_of_own_label_sets_are_is_handed_on(served, monkeypatch):
    _, client = served
    heads = [{"collection": "desk", "task": "pile", "ready": False, "missing": "5 more of 12 corrections or confirmations"}]

    async def glance(self, name, path):
        return {"waiting": 7, "train_after": 40, "heads": heads} if (name, path) == ("trainer", "/api/state") else None

    monkeypatch.setattr(Neighbours, "glance", glance)
    state = (await client.get("/api/loop")).json()
    assert (state["waiting"], state["heads"]) == (7, heads)

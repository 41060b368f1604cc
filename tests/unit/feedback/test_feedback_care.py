"""What the page's API says with a safety label, and with nothing else."""

from shared.care import GRAVEST, HELP, NOTE, OTHER
from shared.events import Decision


def risky(item, label: str = "high"):
    decision = Decision(label=label, probability=0.9, by="llm", reasons=["the language model says so"])
    return item(1, collection="wellbeing").model_copy(update={"decision": {"emotion": Decision.model_validate(decision), "risk": decision}})


async def test_an_item_with_a_safety_label_brings_the_help_text_and_no_other_does(settings, start, item):
    async with start(settings.model_copy(update={"help_text": "Ask Ana at the front desk."})) as (bus, client):
        bus.tell(risky(item), item(2))
        for found in ((await client.get("/api/items")).json()["items"][1], (await client.get("/api/items/d001")).json()):
            assert found["care"] == {"words": GRAVEST, "severity": 1.0, "task": "risk", "note": NOTE, "help": "Ask Ana at the front desk."}
        assert (await client.get("/api/items/d002")).json()["care"] is None
        assert (await client.get("/api/care")).json() == {"gravest": GRAVEST, "other": OTHER, "note": NOTE, "help": "Ask Ana at the front desk."}
        bus.tell(risky(item, "low"))
        assert (await client.get("/api/items/d001")).json()["care"]["words"] == OTHER


async def test_a_safety_label_needs_help_also_when_it_was_judged(served, item):
    bus, client = served
    bus.tell(risky(item))
    said = {"document_id": "d001", "kind": "confirmation", "task": "risk", "correct": "high"}
    answer = await client.post("/api/feedback", json=said)
    assert answer.status_code == 202 and answer.json()["review"]["why"] == "judged"
    assert (await client.get("/api/items/d001")).json()["care"]["help"] == HELP
    back = await client.post("/api/feedback", json={"document_id": "d001", "kind": "retraction", "retracts": answer.json()["id"]})
    assert back.json()["review"] == {"why": "safety", "task": "risk", "weight": 1.0}

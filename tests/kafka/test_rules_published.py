"""Rules for all replicas, really: two classifiers take what is published to one of them, without a restart; one killed with -9 comes back with it."""

import time
from typing import Any

import aiohttp
import pytest

from deploy.local.kafka import KafkaProcess
from services.classifier.rule_files import read_files
from services.classifier.rulebook import SHIPPED
from tests.conftest import Service
from tests.support.services import ServiceProcess
from tests.support.topics import count
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
TOPIC = "rules.published.v1"
TEXT = "The quayside walkout went into its third day."
MORE = """
collection: news
rules:
  - id: walkout
    task: urgency
    label: high
    kind: plain
    any: [quayside walkout]
    reason: the port stands still
    owner: tests
    tests:
      - {text: "A quayside walkout began at dawn.", hit: true}
"""
Files = list[dict[str, str]]


async def asked(web: aiohttp.ClientSession, process: ServiceProcess, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """Status and answer; a POST where there is a body."""
    async with web.request("GET" if body is None else "POST", f"{process.url}{path}", json=body) as response:
        return response.status, await response.json()


async def in_force(web: aiohttp.ClientSession, process: ServiceProcess) -> dict[str, Any]:
    status, rules = await asked(web, process, "/api/rules")
    assert status == 200, rules
    return rules


async def first_verdict(web: aiohttp.ClientSession, process: ServiceProcess) -> dict[str, Any]:
    """The first that a process gives: until it knows the past it gives none."""

    async def given() -> dict[str, Any]:
        try:
            status, answer = await asked(web, process, "/api/classify", {"text": TEXT})
        except aiohttp.ClientConnectionError:  # it does not listen yet
            return {}
        assert status in (200, 503), answer
        return answer if status == 200 else {}

    return await until(f"a verdict; the log ends:\n{process.last_lines()}", 120, given)


async def check(web: aiohttp.ClientSession, process: ServiceProcess, digest: str, source: str, *, by_rule: bool) -> None:
    """The process has these rules in force, and a text is decided by them."""

    async def there() -> bool:
        rules = await in_force(web, process)
        return (rules["digest"], rules["source"], rules["problems"]) == (digest, source, [])

    await until(f"rules {digest[:12]} of {source[:12]}; the log ends:\n{process.last_lines()}", 60, there)
    verdict = await first_verdict(web, process)
    assert verdict["rules_digest"] == digest
    said = verdict["decision"]["urgency"]
    assert (said["by"] == "rule", "walkout" in " ".join(said["reasons"])) == (by_rule, by_rule), said
    assert said["label"] == "high" or not by_rule


async def test_published_rules_reach_every_replica_and_outlive_kill_9(broker: KafkaProcess, service: Service) -> None:
    began = time.monotonic()
    replicas = [service("classifier", broker, FEEDLOOP_REPLICA=str(n)) for n in range(2)]
    shipped: Files = [{"name": name, "text": data.decode()} for name, data in read_files(SHIPPED)]
    files = [*shipped, {"name": "more.yaml", "text": MORE}]
    async with aiohttp.ClientSession() as web:
        for replica in replicas:
            await replica.ready(120)
        own = str((await in_force(web, replicas[0]))["digest"])
        for replica in replicas:
            await check(web, replica, own, "folder", by_rule=False)

        status, told = await asked(web, replicas[1], "/api/rules", {"files": files, "by": "tests"})
        assert (status, told["previous"]) == (202, own), told
        new = str(told["digest"])
        assert new != own
        for replica in replicas:
            await check(web, replica, new, new, by_rule=True)
            assert (await in_force(web, replica))["count"] == told["count"]

        refused: dict[str, Files] = {
            "some label": [*shipped, {"name": "more.yaml", "text": MORE.replace("high", "some label")}],
            "test": [*shipped, {"name": "more.yaml", "text": MORE.replace("hit: true", "hit: false")}],
            "safety rules": files[-1:],
        }
        for why, bad in refused.items():
            status, told = await asked(web, replicas[0], "/api/rules", {"files": bad})
            assert status == 400 and why in told["error"], told
        assert await count(broker.bootstrap, TOPIC) == 1, "nothing of it was announced"
        for replica in replicas:
            await check(web, replica, new, new, by_rule=True)

        replicas[0].kill()
        replicas[0].start()
        assert (await first_verdict(web, replicas[0]))["rules_digest"] == new, "not one verdict by the folder's rules"
        await check(web, replicas[0], new, new, by_rule=True)

        status, told = await asked(web, replicas[0], "/api/rules", {"by": "tests"})
        assert (status, told["digest"], told["previous"]) == (202, "folder", new), told
        for replica in replicas:
            await check(web, replica, own, "folder", by_rule=False)
    print(f"\nrules published to one of two replicas, and taken back: {time.monotonic() - began:.0f} s, a kill -9 in between")

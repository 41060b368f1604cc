"""`python -m tests.unit.ingest.killed FOLDER`: for every third step of a poll a process that kills itself there (SIGKILL) and one that goes on after it; a line of
JSON a round. Forks from this one, which has the libraries loaded and no threads."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from services.ingest.documents import documents_of
from services.ingest.mail import read_mail
from services.ingest.readers import mails as limits
from services.ingest.readers import reader_of
from services.ingest.source import SourceTask
from shared.events import DocumentIngested, Event, SourcePolled, SourceRef
from shared.objects import ObjectStore
from tests.unit.ingest.conftest import NOW, Recorder, make_world
from tests.unit.ingest.steps import SteppedReader, Steps, stepped
from tests.unit.ingest.test_ingest_kill import mail, make_mbox

KINDS = {kind.__name__: kind for kind in (DocumentIngested, SourcePolled)}


def events_in(log: Path) -> list[Event]:
    """What is durable; half a line at the end is not."""
    lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
    return [KINDS[row["kind"]].model_validate_json(row["body"]) for row in map(json.loads, lines)]


async def process(folder: Path, kill_at: int) -> None:
    log = folder / "topics.jsonl"
    with log.open("ab") as file:

        def durable(event: Event) -> None:
            file.write(json.dumps({"kind": type(event).__name__, "body": event.model_dump_json()}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

        world = await make_world(folder, Recorder(events_in(log))).restarted()
        steps = Steps(kill_at, lambda: os.kill(os.getpid(), signal.SIGKILL))
        stepped(world, steps, durable)
        source = make_mbox(folder, (2, 3, 4, 5))
        reader = SteppedReader(reader_of(source, None, str, world.store), steps)  # type: ignore[arg-type]
        task = SourceTask(source, reader, world.intake, world.bus.publish, world.known, lambda: NOW)
        await task.poll()
        assert task.polled is not None and task.polled.state in ("ok", "unchanged"), task.polled


def forked(work: Callable[[], None]) -> int:
    """Run it in a child: 0, 1 where it failed, or minus the signal that ended it."""
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    limits.MAX_BATCH = 2
    (folder := Path(sys.argv[1]) / "first").mkdir()
    ready = documents_of(read_mail(mail(0)), SourceRef(id="box", kind="mail"), "news", NOW, ObjectStore(str(folder)))  # what it imports is there then
    assert ready
    for kill_at in range(1, 200, 3):
        folder = Path(sys.argv[1]) / str(kill_at)
        folder.mkdir()
        first = forked(lambda at=kill_at, place=folder: asyncio.run(process(place, at)))  # type: ignore[misc]
        second = forked(lambda place=folder: asyncio.run(process(place, 0))) if first else 0  # type: ignore[misc]
        titles = [event.title for event in events_in(folder / "topics.jsonl") if isinstance(event, DocumentIngested)]
        print(json.dumps({"step": kill_at, "first": first, "second": second, "titles": sorted(titles)}), flush=True)
        if first == 0:
            return


if __name__ == "__main__":
    main()

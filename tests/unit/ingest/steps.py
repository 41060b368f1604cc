"""Every step between reading, publishing and saving the cursor, as a place to be killed at."""

from collections.abc import AsyncIterator, Callable, Mapping

from services.ingest.items import Batch, Reader, Refused
from services.ingest.quarantine import Quarantine, Quarantined
from shared.events import Event
from tests.unit.ingest.conftest import Recorder, World


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


class Steps:
    """Counts the steps; `kill` is called at the given one."""

    def __init__(self, kill_at: int, kill: Callable[[], None]) -> None:
        self.count, self._kill_at, self._kill = 0, kill_at, kill

    def step(self) -> None:
        self.count += 1
        if self.count == self._kill_at:
            self._kill()


class SteppedReader:
    def __init__(self, reader: Reader, steps: Steps) -> None:
        self._reader, self._steps = reader, steps

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        self._steps.step()  # before anything is read
        async for batch in self._reader.read(cursor):
            self._steps.step()  # read, and not handed over
            yield batch
            self._steps.step()  # durable, and its cursor not saved


class SteppedQuarantine(Quarantine):
    steps: Steps

    def put(self, source: str, refused: Refused) -> Quarantined:
        self.steps.step()
        entry = super().put(source, refused)
        self.steps.step()
        return entry


def stepped(world: World, steps: Steps, durable: Callable[[Event], None] = lambda event: None) -> None:
    """Make every publish of a world a step before and after each event: a kill leaves what came before it durable, and the rest not. `durable` is called
    with each event that is."""
    bus: Recorder = world.bus

    async def publish(*events: Event) -> None:
        for event in events:
            steps.step()
            durable(event)
            bus.events.append(event)
        steps.step()  # durable, and the answer not heard

    bus.publish = publish  # type: ignore[method-assign]
    quarantine = SteppedQuarantine(str(world.folder / "objects"), world.quarantine._clock)
    quarantine.steps = steps
    world.quarantine = world.intake._quarantine = quarantine
    world.intake._publish = publish

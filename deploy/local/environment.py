"""What a service's environment says on one machine, beside the addresses that the stack chooses."""

from collections.abc import Mapping
from pathlib import Path

from deploy.local.state import State

BUNDLED_MODEL = Path(__file__).resolve().parent.parent / "model"


def service_environment(name: str, base: Mapping[str, str], state: State) -> dict[str, str]:
    """`base` with our defaults where it says nothing: folders of the profile, so that no path depends on where the command was given."""
    defaults = {
        "FEEDLOOP_OBJECTS": str(state.objects),
        "FEEDLOOP_MODEL": str(BUNDLED_MODEL),
        "FEEDLOOP_MODELS_CACHE": str(state.folder / "models"),
        "FEEDLOOP_WORK": str(state.folder / "runs"),
        "FEEDLOOP_LOG_LEVEL": "info",
    }
    env = dict(base) | {key: base.get(key) or value for key, value in defaults.items()}
    if not env.get("QDRANT_URL"):
        env["QDRANT_PATH"] = str(state.qdrant)
    # Six services share a few cores: one thread each for numerics, and two where the work is nothing else.
    env |= {"FEEDLOOP_REPLICA": "0", "OMP_NUM_THREADS": "2" if name == "trainer" else "1", "PYTHONUNBUFFERED": "1"}
    return env

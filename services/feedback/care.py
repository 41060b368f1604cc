"""Words for verdicts that carry a safety label. They are about what to do next, and never say what somebody is, feels or has.

A label such as `self_harm_high` is a name for the machine. What people read is that somebody may need help, that this is a hint and may be wrong, and where
help is to be had. The help text is the desk's own (FEEDLOOP_HELP_TEXT); ours names no telephone number, because the right one depends on the place.
"""

from collections.abc import Mapping
from typing import Any

from shared.events import Decision
from shared.taxonomy import Task

GRAVEST = "may need help now"
OTHER = "may need help"
NOTE = "This is a hint from words in a text. It is no diagnosis and may be wrong. A person must read the text and decide."
HELP = """\
If somebody may be in danger, contact your local emergency services or a local crisis service now, and do not leave the person alone with it if you can help it.

If this is about you: you do not have to carry it alone. Please talk to somebody you trust, or to a local crisis service, now.

Feedloop only sorts texts. A person must decide what to do."""


def holding(decision: Decision) -> list[str]:
    """The labels that hold: of a multi task any number, else the one."""
    return decision.labels or ([decision.label] if decision.label else [])


def severity(task: Task | None, labels: list[str]) -> float:
    """How grave the gravest of some labels is: 1 for the task's gravest safety label, less for those before it, 0 where none is a safety label.

    A share and not a place, so that tasks with few and with many safety labels can stand in one order.
    """
    if task is None or not task.safety_labels:
        return 0.0
    return max((task.severity(label) for label in labels), default=0) / len(task.safety_labels)


def gravest(decisions: Mapping[str, Decision], tasks: Mapping[str, Task]) -> tuple[float, str]:
    """The highest severity of any task's verdict, and that task; (0, "") where no verdict carries a safety label."""
    found = ((severity(tasks.get(name), holding(decision)), name) for name, decision in decisions.items())
    return max((one for one in found if one[0] > 0), key=lambda one: one[0], default=(0.0, ""))


def words(grave: float) -> str:
    """A severity above 0, as people read it."""
    return GRAVEST if grave >= 1 else OTHER


def shown(decisions: Mapping[str, Decision], tasks: Mapping[str, Task], help_text: str) -> dict[str, Any] | None:
    """What goes with an item whose verdict carries a safety label: calm words, what it is not, and where help is. None for all others."""
    grave, task = gravest(decisions, tasks)
    return {"words": words(grave), "severity": round(grave, 6), "task": task, "note": NOTE, "help": help_text} if grave else None

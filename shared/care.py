"""Words for verdicts that carry a safety label. They are about what to do next, and never say what somebody is, feels or has.

A label such as `self_harm_high` is a name for the machine. What people read is that somebody may need help, that this is a hint and may be wrong, and where
help is to be had. The help text is the desk's own (FEEDLOOP_HELP_TEXT); ours names no telephone number, because the right one depends on the place.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from shared.events import Decision, Record
from shared.settings import ServiceSettings
from shared.taxonomy import Task

GRAVEST = "may need help now"
OTHER = "may need help"
NOTE = "This is a hint from words in a text. It is no diagnosis and may be wrong. A person must read the text and decide."
HELP = """\
If somebody may be in danger, contact your local emergency services or a local crisis service now, and do not leave the person alone with it if you can help it.

If this is about you: you do not have to carry it alone. Please talk to somebody you trust, or to a local crisis service, now.

Feedloop only sorts texts. A person must decide what to do."""
LONGEST_HELP = 4000  # characters


class Care(Record):
    """What goes with a verdict that carries a safety label: calm words, what the verdict is not, and where help is. It is no diagnosis."""

    words: str = Field(description="what the writer may need; never what somebody is, feels or has")
    severity: float = Field(description="above 0, and 1 for the task's gravest safety label: for sorting, and no probability")
    task: str = Field(description="the task with the gravest label")
    note: str = Field(description="what the verdict is not")
    help: str = Field(description="the help text of the desk (FEEDLOOP_HELP_TEXT), plain, paragraphs apart by an empty line")


class CareSettings(ServiceSettings):
    """The settings of a service that shows verdicts to people."""

    help_text: str = Field(default="", description="shown with every verdict that carries a safety label; empty: HELP")
    help_text_file: Path | None = Field(default=None, description="a UTF-8 file that holds the help text; read at the start")

    @field_validator("help_text_file", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @model_validator(mode="after")
    def _help_can_be_read(self) -> "CareSettings":
        self.help()
        return self

    def help(self) -> str:
        """The help text, plain, paragraphs apart by an empty line. Raises ValueError naming the setting, what is wrong and what to do."""
        if self.help_text_file is None:
            text, name = self.help_text, "FEEDLOOP_HELP_TEXT"
        elif self.help_text.strip():
            raise ValueError("FEEDLOOP_HELP_TEXT and FEEDLOOP_HELP_TEXT_FILE are both set: which of the two texts is meant? Set one")
        else:
            name = f"FEEDLOOP_HELP_TEXT_FILE {self.help_text_file}"
            try:
                text = self.help_text_file.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{name} can't be read as UTF-8 text: {error}") from error
            if not text.strip():
                raise ValueError(f"{name} is empty: write the help text into it, or unset the setting for the text that ships")
        if len(text) > LONGEST_HELP:
            raise ValueError(f"{name} has {len(text)} characters; at most {LONGEST_HELP} are shown with an item: shorten it")
        return text.strip() or HELP


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


def shown(decisions: Mapping[str, Decision], tasks: Mapping[str, Task], help_text: str) -> Care | None:
    """What goes with a text whose verdict carries a safety label. None for all others."""
    grave, task = gravest(decisions, tasks)
    return Care(words=words(grave), severity=round(grave, 6), task=task, note=NOTE, help=help_text) if grave else None

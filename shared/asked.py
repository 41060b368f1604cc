"""What the classifier asks inference about texts that are no documents: their labels, by the live language model. `POST /api/labels` of inference."""

from pydantic import BaseModel, ConfigDict, Field

from shared.events import LabelScore, ModelStamp

MOST_ASKED = 16  # texts in one request: each is a question a task, and a language model takes its time


class Asked(BaseModel):
    """One text."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=100_000)
    title: str = Field(default="", max_length=1_000)


class LabelsAsked(BaseModel):
    """The texts, and the label set by whose tasks they are read."""

    model_config = ConfigDict(extra="forbid")

    items: list[Asked] = Field(min_length=1, max_length=MOST_ASKED)
    collection: str = "news"


class Spoken(BaseModel):
    """What the language model says of one text: task -> label, of the tasks that it gave a sound answer to; `model` says who spoke. `problem`: why nobody
    did."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)  # an answer always has all three, and its description says so

    verdict: dict[str, LabelScore] = {}
    model: ModelStamp | None = None
    problem: str = ""


class LabelsSpoken(BaseModel):
    """In the order of the texts. They may be by two adapters, where one takes the other's place meanwhile."""

    items: list[Spoken]

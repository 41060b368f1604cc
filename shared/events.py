"""The events of Feedloop. One record travels down the line and each service adds its part: nobody joins, nobody asks back.

Each event is a CloudEvent 1.0 in binary mode (shared.bus writes the headers); this module holds the JSON bodies. Every class that is an
event has a topic (shared.topics), a checked-in example and a checked-in schema (tests/contract). A breaking change is a new topic.
"""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from shared.records import Attachment as Attachment
from shared.records import Link as Link
from shared.records import ObjectRef as ObjectRef
from shared.records import Probe as Probe
from shared.records import Record as Record
from shared.records import RuleText as RuleText
from shared.records import SourceRef as SourceRef
from shared.records import Span as Span
from shared.records import digest_of as digest_of

Stage = Literal["provisional", "final", "corrected"]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
BASE_DIGEST = "base"  # the digest that stands for "no adapter": the base weights themselves


class Event(Record):
    """A record that travels on a topic of its own."""

    def key(self) -> str:
        """The Kafka key: the id of the entity that the event is about, so that all of its events keep their order."""
        raise NotImplementedError(type(self).__name__)

    def event_id(self) -> str:
        """Deterministic: the same fact told twice has the same id (CloudEvents `id`), so that a repeat is recognised."""
        return digest_of(type(self).__name__, self.model_dump_json())[:32]


class DocumentIngested(Event):
    """One item of a feed or one mail, as clean text. `id` names the item, `version` its content: an edit keeps the id."""

    id: str
    version: str
    source: SourceRef
    title: str
    text: str = Field(description="clean text; the first INLINE_TEXT characters where `text_ref` holds the whole")
    text_ref: ObjectRef | None = None
    url: str = ""
    author: str = ""
    links: list[Link] = []
    language: str = Field(default="", description="ISO 639-1, empty where unknown")
    published_at: AwareDatetime
    received_at: AwareDatetime
    story: str = Field(description="the same story told by several sources has one story id")
    collection: str = "news"
    channel: str = Field(default="", description="what a mail came through: its List-Id (RFC 2919), else the sender's address")
    attachments: list[Attachment] = []
    parent: str = Field(default="", description="id of the digest that this is an item of")
    children: list[str] = Field(default=[], description="ids of the items of a digest, in its order")

    def key(self) -> str:
        return self.id


class ModelStamp(Record):
    """Which weights spoke: `adapter` is a digest, or "base" for the base weights."""

    base: str
    adapter: str = BASE_DIGEST
    name: str = Field(default="", description="the name under which the engine served it")
    weights: int = Field(default=0, ge=0, description="how many the base has, 0 where that is not known")
    taught: list[str] = Field(default=[], description="the collections whose corrections the adapter learned from")


class LabelScore(Record):
    """A label and its probability; `probabilities` of all labels where whoever answered gave them."""

    label: str
    probability: Probability
    probabilities: dict[str, Probability] = {}


class Metadata(Record):
    """What the LLM read out of a document. Entities, topics, links and summary sentences stand in the document itself (grounded)."""

    key_topics: list[str]
    entities: list[str]
    sentiment: str
    urgency_level: str
    categories: list[str]
    related_links: list[str]
    summary: str
    action_items: list[str]


class DocumentEnriched(DocumentIngested):
    """The document, its metadata and the LLM's verdict for each task."""

    metadata: Metadata
    verdict: dict[str, LabelScore] = Field(description="task -> label, by constrained choice")
    model: ModelStamp
    prompt_hash: str
    enriched_at: AwareDatetime


class PartScore(Record):
    """What one part (rule, llm, neural, correction) said, before fusion."""

    part: Literal["rule", "correction", "llm", "neural", "default"]
    label: str
    probability: Probability
    why: str = ""
    probabilities: dict[str, Probability] = Field(default={}, description="of all labels, as the part gave them, before calibration")
    spans: list[Span] = Field(default=[], description="a rule's words, where they stand")


class Decision(Record):
    """The verdict for one task: the label, who decided, and why in words a person reads.

    Of a multi task `label` is the likeliest of `labels`, and empty where none holds. Of an ordinal task it is the median of the probabilities.
    """

    label: str
    probability: Probability
    by: Literal["rule", "correction", "llm", "neural", "fusion", "default"]
    reasons: list[str]
    parts: list[PartScore] = []
    labels: list[str] = Field(default=[], description="the labels that hold, of a multi task; any number")
    probabilities: dict[str, Probability] = Field(default={}, description="of all labels; they add up to 1 save in a multi task")
    expected_rank: float | None = Field(default=None, description="of an ordinal task: the mean place in its order of labels, from 0")
    unsure: bool = Field(default=False, description="for a person to look at: more than one label is possible at the label set's error rate")
    possible: list[str] = Field(default=[], description="the prediction set: the true label (of a multi task: all true ones) is among these")
    mattered: list[Span] = Field(default=[], description="the words that mattered most, where they were asked for")


class DocumentClassified(DocumentIngested):
    """All of it and the decision. `as_of` orders the verdicts on one document: a reader keeps the latest, whatever order they come in."""

    metadata: Metadata | None = None
    verdict: dict[str, LabelScore] = {}
    model: ModelStamp | None = None
    prompt_hash: str = ""
    decision: dict[str, Decision]
    stage: Stage
    as_of: AwareDatetime = Field(description="time of the newest reading the decision rests on: receipt, or enrichment")
    feedback_at: AwareDatetime | None = Field(default=None, description="time of the newest feedback the decision takes into account")
    rules_digest: str = ""
    head_digest: str = ""
    fusion_digest: str = Field(default="", description="of the learned weights; empty where the parts are pooled uncalibrated")

    def supersedes(self, other: "DocumentClassified | None") -> bool:
        """True where this verdict should replace `other` for the same document, in whatever order the two arrive.

        One that knows of newer feedback always wins, so that a late LLM answer never overwrites a correction; then the newer reading;
        then the later stage.
        """
        return other is None or self.rank() >= other.rank()

    def rank(self) -> tuple[float, float, int]:
        feedback = self.feedback_at.timestamp() if self.feedback_at else 0.0
        return feedback, self.as_of.timestamp(), ("provisional", "final", "corrected").index(self.stage)


class FeedbackGiven(Event):
    """What a person said of an output. It carries the text and the output that was judged, so that neither the overlay nor training asks back."""

    id: str
    kind: Literal["correction", "confirmation", "preference", "rating", "retraction"]
    document_id: str
    document: DocumentClassified | None = Field(default=None, description="the output as it was judged; none where a bare text is labelled")
    story: str = ""
    task: str = ""
    correct: str = ""
    incorrect: str = ""
    why: str = ""
    rating: int | None = Field(default=None, description="-1 or 1")
    retracts: str = Field(default="", description="id of the feedback that a retraction takes back")
    title: str = ""
    text: str = ""
    judged: ModelStamp | None = None
    by: str = "anonymous"
    given_at: AwareDatetime
    collection: str = "news"

    def key(self) -> str:
        return self.document_id


class TrainingRequested(Event):
    """A run is wanted. `run_id` is the digest of its dataset manifest (or of the offered candidate), so the same data never trains twice."""

    run_id: str
    role: str = "adapter"
    manifest: ObjectRef | None = Field(default=None, description="the dataset snapshot")
    candidate_uri: str = Field(default="", description="an adapter offered ready-made: judged at the gate, not trained")
    examples: int = 0
    reason: str = ""
    requested_at: AwareDatetime

    def key(self) -> str:
        return self.run_id


class TrainingProgressed(Event):
    run_id: str
    phase: Literal["preparing", "training", "judging", "publishing"]
    step: int = 0
    steps: int = 0
    loss: float | None = None
    at: AwareDatetime

    def key(self) -> str:
        return self.run_id


class GateCheck(Record):
    name: str
    passed: bool
    detail: str = Field(description="the figures, in words")


class GateReport(Record):
    """What the gate saw. It fails closed: one failed check refuses the candidate."""

    passed: bool
    checks: list[GateCheck]
    incumbent: str = BASE_DIGEST
    held_out: int = 0
    accuracy_incumbent: float = 0.0
    accuracy_candidate: float = 0.0
    refused_because: str = ""


class TrainingFinished(Event):
    run_id: str
    role: str = Field(default="adapter", description="what the run was to give: the adapter, or a collection's head")
    outcome: Literal["published", "refused", "failed"]
    reason: str = ""
    digest: str = ""
    report: GateReport | None = None
    seconds: float = 0.0
    finished_at: AwareDatetime

    def key(self) -> str:
        return self.run_id


class ModelPublished(Event):
    """The wanted model of a role. The topic is compacted by role: the newest record is what every replica should serve."""

    role: str
    digest: str = Field(description='"base" asks for no adapter')
    uri: str = ""
    base: str = ""
    run_id: str = ""
    report: GateReport | None = None
    probes: list[Probe] = []
    taught: list[str] = Field(default=[], description="the collections whose corrections it was trained on, where that is known")
    previous: str = BASE_DIGEST
    reason: str = ""
    published_at: AwareDatetime

    def key(self) -> str:
        return self.role


class ModelActivated(Event):
    """One replica's answer to a ModelPublished: it serves the digest now, or says why not and keeps the old one."""

    replica: str
    role: str
    digest: str
    name: str = ""
    outcome: Literal["active", "refused"]
    reason: str = ""
    serving: str = Field(default=BASE_DIGEST, description="the digest the replica serves after this")
    probes_agreed: int = 0
    probes: int = 0
    seconds: float = 0.0
    at: AwareDatetime

    def key(self) -> str:
        return f"{self.role}/{self.replica}"


class RulesPublished(Event):
    """The rules that every replica of the classifier should have in force. Compacted under one key: the newest record is what holds."""

    digest: str = Field(description='digest of the files; "folder" asks each replica for those of its own folder')
    files: list[RuleText] = []
    files_ref: ObjectRef | None = Field(default=None, description="the files as a JSON list of {name, text}, where they are too large for the topic")
    rules: int = Field(default=0, description="how many rules the files hold")
    previous: str = Field(default="", description="digest of what was in force where it was published")
    by: str = "anonymous"
    reason: str = ""
    published_at: AwareDatetime

    def key(self) -> str:
        return "rules"


class SourcePolled(Event):
    """The cursor and the health of one source. Compacted: the newest record is where the next poll goes on."""

    source: SourceRef
    state: Literal["ok", "unchanged", "failing", "gone"]
    reason: str = ""
    cursor: dict[str, str] = {}
    last_success: AwareDatetime | None = None
    next_poll: AwareDatetime | None = None
    items: int = Field(default=0, description="new documents in this poll")
    quarantined: int = 0
    at: AwareDatetime

    def key(self) -> str:
        return self.source.id

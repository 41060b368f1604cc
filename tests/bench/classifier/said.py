"""Ask the language model what the head was asked, so that the weights of the two can be learned:

    python -m services.trainer.runs.train_head --collection wellbeing --kind tuned --out deploy/model/heads/wellbeing --said build/said.jsonl
    python -m tests.bench.classifier.said --rows build/said.jsonl --collection wellbeing --out build/said-both.jsonl
    python -m services.trainer.runs.fit_fusion --rows build/said-both.jsonl --collection wellbeing --out deploy/model/fusion/wellbeing.json

Rows go in and come out as services.trainer.runs.fit_fusion reads them; the part "llm" is added through the real engine, as inference asks. --most bounds
the texts (some ten questions a second on two cores). Labelled texts that neither part learned from do instead of rows (--texts, JSON lines as train_head
reads them): then the head that ships for the collection is asked as well.

    python -m tests.bench.classifier.said --texts services/trainer/calibration/news.jsonl --collection news --out build/said-news.jsonl
    python -m services.trainer.runs.fit_fusion --rows build/said-news.jsonl --collection news --out deploy/model/fusion/news.json --until-taught \\
        --learned-with base=<the model's id> --learned-with llm=base --learned-with neural=<the head's digest>
"""

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.local.environment import BUNDLED_MODEL
from services.classifier.head import Head
from services.inference.enrich import Enricher
from shared.clock import utc_now
from shared.encoder import Encoder
from shared.heads import head_text, scores_of
from shared.registry import base_id
from shared.taxonomy import label_set
from tests.bench.classifier.llm import Asker
from tests.bench.classifier.run import BUILD, ENCODER, ROOT
from tests.bench.model.engine import AT_ONCE, NAME, each, running

HEADS = ROOT / "deploy" / "model" / "heads"


async def ask(rows: Sequence[dict[str, Any]], collection: str, model: Path) -> list[dict[str, Any]]:
    """The rows with what the language model says; one that it gives no label for stays as it is. Tasks that it is not asked are left out."""
    tasks = {task.name: task for task in label_set(collection).asked_of("llm")}
    BUILD.mkdir(parents=True, exist_ok=True)
    async with running(model, BUILD / "engine.log", print) as client:
        base = base_id(str(model))
        asker = Asker(client, base, model, Enricher(client, utc_now, base))

        async def one(row: dict[str, Any]) -> dict[str, Any]:
            score = await asker.asked(tasks[row["task"]], row["text"], NAME, "rows", row.get("title", ""))
            return row if score is None else {**row, "parts": {**row["parts"], "llm": score.probabilities or {score.label: score.probability}}}

        return await each([row for row in rows if row["task"] in tasks], one, 3 * AT_ONCE)


def by_head(path: Path, collection: str, threads: int) -> list[dict[str, Any]]:
    """A row for each labelled text of the file and task of the head that ships for the collection, with what that says."""
    head = Head.load(HEADS / collection)
    given = lines(path)
    texts = [head_text(one.get("title", ""), one["text"]) for one in given]
    rows = []
    for number, (one, scores) in enumerate(zip(given, scores_of(Encoder(ENCODER, threads), texts, head.says), strict=True)):
        story = {"group": f"text-{number}", "title": one.get("title", ""), "text": one["text"]}
        rows += [{"task": task, "gold": one[task], **story, "parts": {"neural": said}} for task, said in scores.items() if task in one]
    print(f"learned with: neural={head.digest}")
    return rows


def lines(path: Path) -> list[dict[str, Any]]:
    """The file's JSON lines; empty ones are passed over, as fit_fusion does."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--rows", type=Path)
    source.add_argument("--texts", type=Path, help="labelled texts: the head that ships is asked too")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--most", type=int, default=1000, help="texts at most, evenly drawn")
    given = parser.parse_args()
    if given.texts:
        rows = by_head(given.texts, given.collection, 1)
    else:
        rows = lines(given.rows)
    groups = list(dict.fromkeys(row["group"] for row in rows))
    chosen = set(groups[:: -(-len(groups) // given.most)])
    # all questions about a text one after the other: the engine keeps what it has read
    asked = sorted((row for row in rows if row["group"] in chosen), key=lambda row: row["group"])
    found = asyncio.run(ask(asked, given.collection, given.model))
    print(f"learned with: base={base_id(str(given.model))}, llm=base")
    given.out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), encoding="utf-8")
    print(f"{given.out}: {len(found)} answers on {len(chosen)} texts")


if __name__ == "__main__":
    main()

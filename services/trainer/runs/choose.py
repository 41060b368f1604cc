"""Constrained choice with transformers, as the engine does it: greedy over the tokens that a grammar of the labels lets through, all others masked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from services.trainer.dataset import Example
from services.trainer.runs.precision import autocast
from services.trainer.runs.spelling import Choices, pieces_of
from shared.events import LabelScore
from shared.prompts import label_messages, questions
from shared.taxonomy import Task, label_set

EVAL_BATCH = 32
Model = PreTrainedModel | PeftModel


@dataclass(frozen=True)
class Batch:
    """Prompts with their answers, right-padded, and the places where a token of an answer is chosen among others."""

    ids: torch.Tensor  # [examples, tokens]
    lengths: list[int]  # tokens of each example, without what it is filled up with
    rows: torch.Tensor  # [choices]: the example of each choice
    places: torch.Tensor  # [choices]: the position whose logits choose
    options: torch.Tensor  # [choices, most]: ids of the tokens that the grammar lets through there, filled up with -1
    right: torch.Tensor  # [choices]: which of the options is the answer's


class Chooser:
    """Prompts, answers and training batches for label tasks, with the boundary between prompt and answer where the engine has it. Its examples are
    questions as the engine is asked them: those on a multi task are made by services.trainer.runs.asked."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, collections: Iterable[str]) -> None:
        """`collections`: whose label sets its examples are of. Raises ValueError for one that has none here."""
        self.tokenizer = tokenizer
        self.tasks: dict[tuple[str, str], Task] = {}
        for collection in sorted(set(collections)):
            labels = label_set(collection)
            if labels.collection != collection:
                raise ValueError(f"the collection {collection!r} has no label set here: name where your own are by --labels")
            self.tasks |= {(collection, question.name): question for task in labels.tasks.values() for question in questions(task)}
        self.eos = int(tokenizer.eos_token_id)
        self.pad = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.eos)
        pieces = pieces_of(tokenizer)
        self.choices = {question: Choices(tokenizer, pieces, task.labels, self.eos) for question, task in self.tasks.items()}

    def prompt(self, example: Example) -> list[int]:
        """Token ids of the prompt, up to where the answer begins."""
        messages = label_messages(self.tasks[example.question], example.title, example.text)
        encoded: Any = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
        return list(encoded["input_ids"])

    def batch(self, examples: Sequence[Example]) -> Batch:
        """The examples with their labels as answers. Where the grammar leaves no choice (mostly at the end token) there is nothing to learn."""
        rows: list[list[int]] = []
        found: list[tuple[int, int, list[int], int]] = []
        for n, example in enumerate(examples):
            prompt, choices = self.prompt(example), self.choices[example.question]
            answer = (*choices.usual[example.label], self.eos)
            for k, token in enumerate(answer):
                allowed = choices.allowed(answer[:k])
                if len(allowed) > 1:
                    found.append((n, len(prompt) + k - 1, allowed, allowed.index(token)))
            rows.append([*prompt, *answer])
        most = max(len(allowed) for _, _, allowed, _ in found)
        return Batch(
            ids=self._padded(rows),
            lengths=[len(row) for row in rows],
            rows=torch.tensor([n for n, _, _, _ in found]),
            places=torch.tensor([place for _, place, _, _ in found]),
            options=torch.tensor([allowed + [-1] * (most - len(allowed)) for _, _, allowed, _ in found]),
            right=torch.tensor([right for _, _, _, right in found]),
        )

    def losses(self, model: Model, hidden: torch.Tensor, batch: Batch, wanted: Mapping[int, torch.Tensor] | None = None) -> torch.Tensor:
        """[examples]: minus the log-probability (nats) of each answer among those that the grammar lets through; the usual spelling is the one taught.
        `hidden` [examples, tokens, width]: what the model's decoder makes of the batch, without a mask: what a row is filled up with stands on the
        right, and no token of a causal model looks there. `wanted`: shares [choices, options] to come near to (cross-entropy), in place of the label,
        for some of the examples."""
        logits = self.among(model, hidden, batch)
        target = torch.nn.functional.one_hot(batch.right, logits.shape[1]).float()
        for n, shares in (wanted or {}).items():
            mine = (batch.rows == n).nonzero().flatten()
            target[mine] = 0.0
            target[mine, : shares.shape[1]] = shares
        each = -(target * logits.log_softmax(-1).masked_fill(batch.options < 0, 0.0)).sum(-1)
        return torch.zeros(len(batch.ids)).index_add(0, batch.rows, each)

    def among(self, model: Model, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Logits of the options [choices, most]; minus infinity where the options are filled up."""
        with autocast():  # the head at these places only: over a whole prompt the vocabulary costs more than the layers of a small model
            logits = _inner(model).get_output_embeddings()(hidden[batch.rows, batch.places]).float()
        return logits.gather(1, batch.options.clamp(min=0)).masked_fill(batch.options < 0, -torch.inf)

    @torch.no_grad()
    def answers(self, model: Model, examples: Sequence[Example]) -> list[LabelScore]:
        """The model's label for each example and its probability over all its spellings, in the order given."""
        order = sorted(range(len(examples)), key=lambda i: len(examples[i].text))
        found: dict[int, LabelScore] = {}
        for start in range(0, len(order), EVAL_BATCH):
            part = order[start : start + EVAL_BATCH]
            for i, score in zip(part, self._answer([examples[i] for i in part], model), strict=True):
                found[i] = score
        return [found[i] for i in range(len(examples))]

    def _answer(self, examples: Sequence[Example], model: Model) -> list[LabelScore]:
        prompts = [self.prompt(example) for example in examples]
        choices = [self.choices[example.question] for example in examples]
        spoken: list[tuple[int, ...]] = [() for _ in examples]
        steps: list[list[tuple[list[int], torch.Tensor]]] = [[] for _ in examples]
        inner, lengths = _inner(model), torch.tensor([len(prompt) for prompt in prompts])
        ids = self._padded(prompts)
        seen = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        # the prompts in one pass, then a token at a time from what the layers keep of them
        made = inner.get_decoder()(input_ids=ids, use_cache=True)
        hidden = made.last_hidden_state[torch.arange(len(ids)), lengths - 1]
        while True:
            logits = inner.get_output_embeddings()(hidden).float()
            open_rows = [i for i, tokens in enumerate(spoken) if self.eos not in tokens and choices[i].allowed(tokens) != [self.eos]]
            if not open_rows:
                break
            for i in open_rows:
                allowed = choices[i].allowed(spoken[i])
                share = logits[i, allowed].softmax(-1)
                steps[i].append((allowed, share))
                spoken[i] = (*spoken[i], allowed[int(share.argmax())])
            at = max(map(len, spoken))
            newest = torch.tensor([[tokens[at - 1] if len(tokens) == at else self.pad] for tokens in spoken])
            seen = torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)
            places = (lengths + at - 1)[:, None]
            made = inner.get_decoder()(
                input_ids=newest, attention_mask=seen, position_ids=places, past_key_values=made.past_key_values, use_cache=True
            )
            hidden = made.last_hidden_state[:, -1]
        return [self._score(choices[i], tuple(n for n in spoken[i] if n != self.eos), steps[i]) for i in range(len(examples))]

    def _score(self, choices: Choices, spoken: tuple[int, ...], steps: list[tuple[list[int], torch.Tensor]]) -> LabelScore:
        """As the engine counts it: at each step the share of all tokens that go on towards the label that came of it."""
        label, probability = choices.text(spoken), 1.0
        for k, (allowed, share) in enumerate(steps[: len(spoken)]):
            towards = set(choices.towards(label, spoken[:k]))
            probability *= float(sum(float(part) for n, part in zip(allowed, share, strict=True) if n in towards))
        return LabelScore(label=label, probability=min(1.0, probability))

    def _padded(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        longest = max(map(len, rows))
        return torch.tensor([[*row, *[self.pad] * (longest - len(row))] for row in rows])


def _inner(model: Model) -> Any:
    return getattr(model, "get_base_model", lambda: model)()

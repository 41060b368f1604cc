"""What a grammar of choices lets through: every token that goes on towards one of the labels, however the tokenizer itself would cut that label.

The engine's grammar works on text, not on tokens, so a label may be spelled in many ways ("sec|urity", "s|ecurity"); the end token is let through where
a label is complete. Training and the gate take their shares over the same tokens, so that what they see is what the engine will do.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from transformers import PreTrainedTokenizerBase

Spoken = tuple[int, ...]
SPACE = "▁"  # how SentencePiece marks a space in front: such a token is not the bare text


def pieces_of(tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    """Text -> ids of the tokens that are that text. Special tokens and parts of a character are left out. A second or two for a large vocabulary."""
    found: dict[str, list[int]] = defaultdict(list)
    special = set(tokenizer.all_special_ids)
    ids = [n for n in range(len(tokenizer)) if n not in special]
    for n, token, text in zip(ids, tokenizer.convert_ids_to_tokens(ids), tokenizer.batch_decode([[n] for n in ids]), strict=True):
        if text and "\ufffd" not in text and not str(token).startswith(SPACE):
            found[text].append(n)
    return dict(found)


class Choices:
    """The spellings of one task's labels."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, pieces: Mapping[str, list[int]], labels: Iterable[str], end: int) -> None:
        """`pieces`: what `pieces_of` found for the same tokenizer; `end`: id of the token that ends an answer."""
        self.tokenizer, self.pieces, self.end = tokenizer, pieces, end
        self.usual: dict[str, Spoken] = {label: tuple(tokenizer(label, add_special_tokens=False)["input_ids"]) for label in labels}
        self._allowed: dict[Spoken, list[int]] = {}

    def text(self, spoken: Spoken) -> str:
        """The tokens as text; what is no whole character yet is a replacement character, which no label holds."""
        return str(self.tokenizer.decode(list(spoken), clean_up_tokenization_spaces=False))

    def allowed(self, spoken: Spoken) -> list[int]:
        """Ids of the tokens that may come next, in ascending order; the end token among them where a label is complete."""
        if spoken not in self._allowed:
            text = self.text(spoken)
            # the usual spelling may go through parts of a character, where the text does not tell what comes next
            found = {ids[len(spoken)] for ids in self.usual.values() if ids[: len(spoken)] == spoken and len(ids) > len(spoken)}
            for label in self.usual:
                if label.startswith(text):
                    rest = label[len(text) :]
                    found.update(n for stop in range(1, len(rest) + 1) for n in self.pieces.get(rest[:stop], ()))
            self._allowed[spoken] = sorted(found | ({self.end} if text in self.usual else set()))
        return self._allowed[spoken]

    def towards(self, label: str, spoken: Spoken) -> list[int]:
        """Those of the allowed tokens that go on towards `label`."""
        text, usual = self.text(spoken), self.usual[label]
        follow = usual[len(spoken)] if usual[: len(spoken)] == spoken and len(usual) > len(spoken) else None
        return [n for n in self.allowed(spoken) if n == follow or (n != self.end and label.startswith(text + self.text((n,))))]

"""A decoder in two halves. The lower layers are not trained, so what they make of a text is computed once for a whole run; the upper half is trained.

On the corrections of a desk this learns as much as training all layers, in less than half the processor time (docs/model.md). Layers that a pass is
not for are replaced by ones that hand on what they are given, so that the decoder's own code (positions, masks) runs as it is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel


class HandsOn(torch.nn.Module):
    """A layer that does nothing."""

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden_states


class Halves:
    """The decoder layers of a causal language model, those below `first` and those from it on. Raises ValueError for a model that can't be cut so."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.decoder: Any = model.get_decoder()
        self.layers: Any = getattr(self.decoder, "layers", None)
        if not isinstance(self.layers, torch.nn.ModuleList) or len(self.layers) < 2:
            raise ValueError(f"{type(self.decoder).__name__} has no list of at least two layers")
        self.first = len(self.layers) // 2

    @property
    def trained(self) -> list[int]:
        """Indices of the upper layers."""
        return list(range(self.first, len(self.layers)))

    def linear(self) -> list[str]:
        """Names of the linear modules within an upper layer, as PEFT takes them."""
        names = (name for layer in self.layers[self.first :] for name, part in layer.named_modules() if isinstance(part, torch.nn.Linear))
        return sorted({name.rsplit(".", 1)[-1] for name in names})

    @torch.no_grad()
    def below(self, ids: torch.Tensor) -> torch.Tensor:
        """What the lower layers make of token ids [examples, tokens]: [examples, tokens, width]."""
        found: list[torch.Tensor] = []
        with self._without(self.trained):
            hook = self.layers[self.first].register_forward_pre_hook(lambda _, given: found.append(given[0]))
            try:
                self.decoder(input_ids=ids, use_cache=False)
            finally:
                hook.remove()
        return found[0]

    def above(self, states: torch.Tensor) -> torch.Tensor:
        """What the upper layers and the last norm make of that: [examples, tokens, width], with gradients."""
        with self._without(range(self.first)):
            hidden: torch.Tensor = self.decoder(inputs_embeds=states, use_cache=False).last_hidden_state
        return hidden

    @torch.no_grad()
    def sound(self, ids: torch.Tensor) -> bool:
        """Whether the two halves make together what the whole makes of token ids: not so where a decoder does more to its input than to pass it on."""
        whole, parts = self.decoder(input_ids=ids, use_cache=False).last_hidden_state, self.above(self.below(ids))
        return bool(torch.allclose(whole, parts, rtol=1e-2, atol=1e-3 * float(whole.abs().max())))

    @contextmanager
    def _without(self, indices: Sequence[int]) -> Iterator[None]:
        kept = {n: self.layers[n] for n in indices}
        for n in kept:
            self.layers[n] = HandsOn()
        try:
            yield
        finally:
            for n, layer in kept.items():
                self.layers[n] = layer

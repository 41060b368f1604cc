"""A fine-tuned encoder: the last two layers of all-MiniLM-L6-v2 are trained along with the head. The four layers below stay as they are and are shared with
everything else, so that such a head is the two layers that differ (3.6 MB as int8) and its text is read no more than once."""

import torch
from torch import nn

from services.trainer.runs.heads.examples import Targets
from services.trainer.runs.heads.fitting import Places, Plan, fit_temperatures, in_steps
from services.trainer.runs.heads.network import Network
from services.trainer.runs.heads.vectors import Store
from shared.encoder import DIMS, EARLY_LAYER

READS = "early"
DROPOUT = 0.1


class Body(nn.Module):
    """The layers above EARLY_LAYER as they were published, and the mean over the tokens."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertModel
        from transformers.utils import logging as chatter

        from services.trainer.runs.export_encoder import source_folder

        chatter.set_verbosity_error()  # it reports the pooler's weights, which a sentence embedding does not use
        chatter.disable_progress_bar()
        model = BertModel.from_pretrained(source_folder(), attn_implementation="eager", add_pooling_layer=False).float()
        self.layers = nn.ModuleList(model.encoder.layer[EARLY_LAYER:])
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, early: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden, ignored = early, (1 - mask)[:, None, None, :] * torch.finfo(torch.float32).min
        for layer in self.layers:
            found = layer(hidden, ignored)
            hidden = found if isinstance(found, torch.Tensor) else found[0]
        mean = (hidden * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        features: torch.Tensor = self.dropout(nn.functional.normalize(mean, dim=1) * DIMS**0.5)
        return features


def train(store: Store, target: Targets, taught: Places, held: Places, seed: int = 11) -> Network:
    """The network, with its temperatures."""
    torch.manual_seed(seed)
    made = Network(Body(), DIMS, READS, target.tasks)
    plan = Plan(passes=8, patience=2, batch=32, rate=1e-3, decay=0.01, seed=seed, body_rate=1e-4)
    in_steps(made, store, target, taught, held, plan)
    fit_temperatures(made, store, target, held)
    return made

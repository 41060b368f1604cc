"""A fine-tuned encoder: the six layers of all-MiniLM-L6-v2 are trained along with the head. The embedding of the word pieces stays as it is and is shared
with everything else; such a head is a set of layers of its own (10.7 MB as int8) that takes the place of the encoder's, so that a text is read once."""

import torch
from torch import nn

from services.trainer.runs.encoder_original import Layers, bert
from services.trainer.runs.export_encoder import source_folder
from services.trainer.runs.heads.examples import Targets
from services.trainer.runs.heads.fitting import Places, Plan, fit_temperatures, in_steps
from services.trainer.runs.heads.network import Network
from services.trainer.runs.heads.start import Start
from services.trainer.runs.heads.vectors import Store
from shared.encoder import DIMS

READS = "embedded"
DROPOUT = 0.1


class Body(nn.Module):
    """The encoder's layers, from the weights as they were published or those of another head (`start`), and the mean over the tokens."""

    def __init__(self, start: Start | None = None) -> None:
        super().__init__()
        self.layers = Layers(bert(source_folder()))
        if start:
            self.layers.load_state_dict(start.weights)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.layers(embedded, mask)
        mean = (hidden * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        features: torch.Tensor = self.dropout(nn.functional.normalize(mean, dim=1) * DIMS**0.5)
        return features


def train(store: Store, target: Targets, taught: Places, held: Places, seed: int = 11, start: Start | None = None) -> Network:
    """The network, with its temperatures. `start`: the head whose layers it begins with."""
    torch.manual_seed(seed)
    made = Network(Body(start), DIMS, READS, target.tasks)
    plan = Plan(passes=4, patience=4, batch=32, rate=1e-3, decay=0.01, seed=seed, body_rate=6e-5)
    in_steps(made, store, target, taught, held, plan)
    fit_temperatures(made, store, target, held)
    return made

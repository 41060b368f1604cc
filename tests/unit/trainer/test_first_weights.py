"""Built heads do what they are built for, before anything was learnt."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from services.trainer.runs import first_weights
from services.trainer.runs.pretrain import PRESETS, new_model

VOCABULARY = 4000


def built() -> LlamaForCausalLM:
    torch.manual_seed(0)
    model = new_model(PRESETS["cpu"], VOCABULARY, 1, 0).eval()
    embeddings = torch.nn.functional.normalize(torch.randn(VOCABULARY, 256), dim=1) * 0.32
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(first_weights.with_constant(embeddings))
    first_weights.build(model)
    return model


def test_a_new_model_looks_at_the_token_before_and_copies_what_followed_last_time() -> None:
    model, size = built(), 60
    ids = torch.randperm(VOCABULARY - 5)[:size].add(5).repeat(3)[None]
    with torch.inference_mode():
        out = model(ids, output_attentions=True)
    places = torch.arange(1, ids.shape[1])
    before = out.attentions[0][0, 0, places, places - 1]
    assert float(before.mean()) > 0.9
    second = torch.arange(size, 2 * size - 1)
    assert float(out.attentions[1][0, 0, second, second - size + 1].mean()) > 0.4
    logits = out.logits[0, second].clone()
    logits[torch.arange(len(second)), ids[0, second]] = -1e9  # that a state is like its own token is unlearnt soon, not built away
    right = (logits.argmax(-1) == ids[0, second + 1]).float().mean()
    assert float(right) > 0.5  # one in 4,000 by chance


def test_embeddings_keep_their_length_and_share_one_direction() -> None:
    vectors = first_weights.with_constant(torch.nn.functional.normalize(torch.randn(50, 32), dim=1) * 0.32)
    assert torch.allclose(vectors.norm(dim=1), torch.full((50,), 0.32), atol=1e-5)
    assert torch.allclose(vectors[:, -1], torch.full((50,), 0.32 * first_weights.CONSTANT), atol=1e-5)


def test_a_model_too_small_for_the_heads_is_refused() -> None:
    config = LlamaConfig(vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=1, head_dim=64, intermediate_size=64)
    with pytest.raises(ValueError, match="two layers of three heads"):
        first_weights.build(LlamaForCausalLM(config))

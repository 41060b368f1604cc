"""Built heads do what they are built for, before anything was learnt."""

import pytest
import torch
from torch.nn.functional import normalize
from transformers import LlamaConfig, LlamaForCausalLM

from services.trainer.runs import embeddings, first_weights
from services.trainer.runs.pretrain import PRESETS, new_model

VOCABULARY = 4000


def table(vocabulary: int, hidden: int) -> torch.Tensor:
    meaning, near = (normalize(torch.randn(vocabulary, size), dim=1) for size in (hidden - 64, 61))
    return embeddings.laid_out(meaning, near, torch.randn(vocabulary).clamp(-2, 2))


def built() -> LlamaForCausalLM:
    torch.manual_seed(0)
    model = new_model(PRESETS["cpu"], VOCABULARY, 1, 0).eval()
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(table(VOCABULARY, 256))
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
    assert float(right) > 0.3  # one in 4,000 by chance


def test_embeddings_have_one_length_and_the_last_axes_are_kept() -> None:
    vectors = table(50, 128)
    assert torch.allclose(vectors.norm(dim=1), torch.full((50,), embeddings.NORM), atol=1e-5)
    assert torch.allclose(vectors[:, -1], torch.full((50,), embeddings.NORM * embeddings.CONSTANT), atol=1e-5)
    assert not vectors[:, embeddings.FIT].any()


def test_the_state_says_what_the_text_is_about() -> None:
    """A token whose meaning is the weighted mean of a text's is more likely after it than one of another meaning, and more so the heavier its words."""
    torch.manual_seed(1)
    model = new_model(PRESETS["cpu"], VOCABULARY, 1, 0).eval()
    meaning, near = normalize(torch.randn(VOCABULARY, 192), dim=1), normalize(torch.randn(VOCABULARY, 61), dim=1)
    about = meaning[7].clone()
    words = torch.arange(100, 140)
    meaning[words] = normalize(about + 1.5 * normalize(torch.randn(len(words), 192), dim=1), dim=1)  # forty words that all mean something like it
    noise = torch.arange(200, 240)
    gains = []
    for weight in (2.0, 0.0, -2.0):
        weights = torch.zeros(VOCABULARY)
        weights[words] = weight
        with torch.no_grad():
            model.model.embed_tokens.weight.copy_(embeddings.laid_out(meaning, near, weights))
        first_weights.build(model)
        text = torch.stack([words, noise], dim=1).flatten()
        with torch.inference_mode():
            attention = model.model.layers[0]
            states: list[torch.Tensor] = []
            hook = attention.self_attn.register_forward_hook(lambda _module, _given, out: states.append(out[0]))  # noqa: B023
            model(text[None])
            hook.remove()
        gains.append(float(states[0][0, -1, :192] @ about))
    assert gains[0] > gains[1] > gains[2]
    assert gains[0] > 2 * gains[2] > 0


def test_a_label_that_fits_is_looked_for() -> None:
    model = built()
    layer = model.model.layers[first_weights.below(6)].self_attn
    state = torch.randn(1, 30, 256) * 0.3
    state[..., embeddings.FIT] = -2.0
    state[..., -1] = 16 * embeddings.CONSTANT
    state[0, 11, embeddings.FIT] = 2.0
    turns = model.model.rotary_emb(state, torch.arange(30)[None])
    mask = torch.zeros(1, 1, 30, 30).masked_fill(torch.ones(30, 30).triu(1).bool(), -1e9)
    with torch.inference_mode():
        shares = layer(state, attention_mask=mask, position_embeddings=turns)[1]
    assert float(shares[0, 2, -1, 11]) > 0.9


def test_a_model_too_small_for_the_heads_is_refused() -> None:
    config = LlamaConfig(vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=1, head_dim=64, intermediate_size=64)
    with pytest.raises(ValueError, match="two layers of three heads"):
        first_weights.build(LlamaForCausalLM(config))

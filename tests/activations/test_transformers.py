"""GPT-2 and BERT of the transformers library, with random weights (extra "real")."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sk_eqsae import TopKSAE, extract_orbits, splice

transformers = pytest.importorskip("transformers")

SIZES = {"vocab_size": 12}
GPT2 = {"n_positions": 8, "n_embd": 16, "n_layer": 2, "n_head": 2}
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 8,
}
TOKENS = np.stack([*np.divmod(np.arange(36), 6), np.full(36, 11)], axis=1)


@pytest.fixture(params=["gpt2", "bert"])
def model(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if request.param == "gpt2":
            config = transformers.GPT2Config(**SIZES, **GPT2)
            return transformers.GPT2LMHeadModel(config).eval()
        config = transformers.BertConfig(**SIZES, **BERT)
        return transformers.BertModel(config).eval()


@pytest.fixture
def batch():
    data = {"input_ids": TOKENS, "attention_mask": np.ones_like(TOKENS)}
    return transformers.BatchEncoding(data, tensor_type="pt")


def add(batch, power):
    assert isinstance(batch, transformers.BatchEncoding)
    batch["input_ids"][:, 0] = (batch["input_ids"][:, 0] + power) % 6
    return batch


def blocks(model):
    is_gpt2 = isinstance(model, transformers.GPT2LMHeadModel)
    name = "transformer.h.{}" if is_gpt2 else "encoder.layer.{}"
    return [name.format(i) for i in range(2)]


def test_blocks_are_read_at_a_token_in_one_pass(model, batch):
    found = extract_orbits(
        model,
        batch,
        layer=[*blocks(model), ""],
        action=add,
        symmetry=6,
        output=dict.fromkeys(blocks(model), last_token),
        batch_size=5,
    )
    with torch.no_grad():
        outputs = model(**batch, output_hidden_states=True)
    for name, state in zip(blocks(model), outputs.hidden_states[1:], strict=True):
        assert found[name].X.shape == (36 * 6, 16)
        if name != "transformer.h.1":  # whose state is normalised before it is given
            rows = state[:, -1]
            assert_allclose(found[name].canonical, rows, rtol=1e-4, atol=1e-5)
    first = outputs[0].flatten(1)
    assert_allclose(found[""].canonical, first, rtol=1e-4, atol=1e-5)
    # all sums with one b are the same inputs, in another order
    rows = found[blocks(model)[0]].X.reshape(6, 6, 6, 16)
    assert_allclose(rows[1, :, 0], rows[0, :, 1], rtol=1e-4, atol=1e-5)


def last_token(output):
    tensor = output[0] if isinstance(output, tuple) else output
    return tensor[:, -1]


def test_an_output_is_picked_by_its_name(model, batch):
    name = "logits" if hasattr(model, "lm_head") else "last_hidden_state"
    settings = {"layer": "", "action": add, "symmetry": 6, "inputs": batch}
    by_name = extract_orbits(model, **settings, output=name)
    by_default = extract_orbits(model, **settings)
    assert_allclose(by_name.X, by_default.X)


def test_tokens_of_a_block_are_replaced(model, batch):
    layer = blocks(model)[0]
    orbits = extract_orbits(model, batch, layer=layer, action=add, symmetry=6)
    sae = TopKSAE(32, k=4, max_epochs=2, random_state=0).fit(orbits.X.reshape(-1, 16))
    with torch.no_grad():
        before = model(**batch)[0]
        with splice(model, layer, sae, keep_error=True):
            same = model(**batch)[0]
        with splice(model, layer, sae):
            changed = model(**batch)[0]
    torch.testing.assert_close(same, before, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(changed, before, rtol=1e-3, atol=1e-4)


def test_a_folder_is_gone_on_with(model, batch, tmp_path):
    settings = {"layer": blocks(model)[0], "action": add, "symmetry": 6}
    for _ in range(2):
        orbits = extract_orbits(model, batch, **settings, out=tmp_path, batch_size=9)
    assert orbits.X.shape == (36 * 6, 48)

"""The residual stream of a small transformer that predicts the next character."""

import pydoc_data.topics

import numpy as np
import torch
from torch import nn

N_FEATURES, CONTEXT = 128, 64


def transformer(n_train: int, n_test: int, seed: int) -> tuple:
    """Train on Python's help texts; a row is the stream at one character."""
    text = _text()
    cut = 3 * len(text) // 4
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _train(_CharacterModel(int(text.max()) + 1), text[:cut])
        train = _stream(model, text[:cut], n_train)
        test = _stream(model, text[cut:], n_test)
    return train, test, None


def _text():
    topics = pydoc_data.topics.topics
    text = "\n".join(topics[name] for name in sorted(topics))
    _, codes = np.unique(list(text), return_inverse=True)
    return torch.from_numpy(codes)


def _train(model, text, steps=400):
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for _ in range(steps):
        batch = _windows(text, 32, CONTEXT + 1)
        logits = model(batch[:, :-1]).flatten(0, 1)
        loss = nn.functional.cross_entropy(logits, batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def _windows(text, n, length):
    starts = torch.randint(len(text) - length, (n, 1))
    return text[starts + torch.arange(length)]


@torch.no_grad()
def _stream(model, text, n_rows):
    windows = _windows(text, -(-n_rows // 16), CONTEXT)
    stream = model.stream(windows).numpy()
    rng = np.random.default_rng(int(windows.sum()))
    # a quarter of each window, so that rows come from many places of the text
    places = rng.permuted(np.tile(np.arange(CONTEXT), (len(windows), 1)), axis=1)
    rows = np.take_along_axis(stream, places[:, :16, None], axis=1)
    return rows.reshape(-1, N_FEATURES)[:n_rows]


class _CharacterModel(nn.Module):
    def __init__(self, n_characters):
        super().__init__()
        self.characters = nn.Embedding(n_characters, N_FEATURES)
        self.places = nn.Embedding(CONTEXT, N_FEATURES)
        self.blocks = nn.ModuleList(_block() for _ in range(2))
        self.head = nn.Sequential(
            nn.LayerNorm(N_FEATURES), nn.Linear(N_FEATURES, n_characters)
        )
        mask = nn.Transformer.generate_square_subsequent_mask(CONTEXT)
        self.register_buffer("mask", mask)

    def stream(self, characters):
        places = torch.arange(characters.shape[1])
        start = self.characters(characters) + self.places(places)
        return self.blocks[0](start, self.mask)

    def forward(self, characters):
        return self.head(self.blocks[1](self.stream(characters), self.mask))


def _block():
    return nn.TransformerEncoderLayer(
        N_FEATURES,
        nhead=4,
        dim_feedforward=4 * N_FEATURES,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )

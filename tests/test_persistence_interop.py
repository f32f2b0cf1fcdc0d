"""Exports and imports, compared with what other libraries gave for the same files."""

import json
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from sk_eqsae import (
    EquivariantSAE,
    GroupTiedSAE,
    TopKSAE,
    export,
    from_dictionary_learning,
    from_saelens,
    load,
    save,
)
from sk_eqsae._atomic import atomic_folder
from sk_eqsae.persistence import _dictionary_learning
from tests.fitted import data
from tests.instances import QUICK
from tests.interop_files import EXPORTED, FOLDER, kept
from tests.peers import CASES, FORMATS, READERS, assert_same, exportable, format_of

FOLDERS = sorted(path for path in FOLDER.iterdir() if path.is_dir())
N_MUTATED = 400
ABSENT = "absent"  # as the value of a setting: take it out


@pytest.fixture(scope="module")
def found():
    """Outputs of the libraries."""
    with np.load(FOLDER / "outputs.npz") as outputs:
        return dict(outputs)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_file_of_a_library_gives_what_it_gave_there(folder, found):
    sae = READERS[format_of(folder.name)](folder)
    name = folder.name
    assert_same(sae, found["X"], found[f"{name}_encoded"], found[f"{name}_decoded"])


def test_there_are_files_of_both_libraries():
    assert {format_of(folder.name) for folder in FOLDERS} == set(FORMATS)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", EXPORTED)
def test_an_export_gives_what_it_gave_in_the_library(name, format, found, tmp_path):
    sae = kept(name)
    outputs = [found[f"{name}_to_{format}_{part}"] for part in ("encoded", "decoded")]
    assert_same(sae, found["X"], *outputs)
    export(sae, tmp_path / "exported", format=format)
    assert_same(READERS[format](tmp_path / "exported"), found["X"], *outputs)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("name", "offset"), CASES)
def test_an_export_comes_back_with_the_same_outputs(name, offset, format, tmp_path):
    sae, X = exportable(name, offset)
    export(sae, tmp_path / "exported", format=format)
    back = READERS[format](tmp_path / "exported")
    Z = back.transform(X)
    assert_same(sae, X, Z, back.inverse_transform(Z))
    assert (back.k, back.activation) == (sae.k, sae.activation)


def test_a_frozen_autoencoder_is_exported_as_what_it_holds(tmp_path):
    sae, X = exportable("default", 0)
    export(FrozenEstimator(sae), tmp_path / "exported")
    Z = READERS["saelens"](tmp_path / "exported").transform(X)
    np.testing.assert_allclose(Z, sae.transform(X), atol=1e-4)


@pytest.mark.parametrize("format", FORMATS)
def test_an_import_can_be_saved_and_trained_on(format, tmp_path):
    sae, X = exportable("default", 0)
    export(sae, tmp_path / "exported", format=format)
    back = READERS[format](tmp_path / "exported")
    save(back, tmp_path / "saved")
    np.testing.assert_array_equal(
        load(tmp_path / "saved").transform(X), back.transform(X)
    )
    before = back.score(X)
    back.set_params(warm_start=True, max_epochs=3, random_state=0).fit(X)
    assert back.score(X) > before


def test_a_saelens_folder_holds_what_saelens_needs(tmp_path):
    sae, _ = exportable("default", 0)
    export(sae, tmp_path / "exported", format="saelens")
    settings = json.loads((tmp_path / "exported" / "cfg.json").read_text())
    settings.pop("metadata")
    assert settings == {
        "architecture": "topk",
        "d_in": 12,
        "d_sae": 24,
        "k": 3,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": False,
    }
    arrays = load_file(tmp_path / "exported" / "sae_weights.safetensors")
    assert {name: array.shape for name, array in arrays.items()} == {
        "W_enc": (12, 24),
        "W_dec": (24, 12),
        "b_enc": (24,),
        "b_dec": (12,),
    }


def test_the_vectors_of_an_export_have_norm_1_under_the_default_recipe(tmp_path):
    sae, _ = exportable("default", 0)
    export(sae, tmp_path / "exported", format="dictionary_learning")
    weights = torch.load(tmp_path / "exported" / "ae.pt", weights_only=True)
    norms = weights["decoder.weight"].norm(dim=0)
    torch.testing.assert_close(norms, torch.ones(24))


def two_layers(X, metadata):
    return TopKSAE(8, k=2, hidden_dim=4, **QUICK).fit(X)


def moving(X, metadata):
    sae = EquivariantSAE(8, k=2, hidden_dim=None, **QUICK)
    return sae.fit(X, **metadata)


def pooled(X, metadata):
    return GroupTiedSAE(8, k=2, output="invariant", **QUICK).fit(X, **metadata)


def foreign(X, metadata):
    return PCA(2).fit(X)


def large(X, metadata):
    return TopKSAE(8, k=2, **QUICK).fit(X * 1e60)


def small(X, metadata):
    return TopKSAE(8, k=2, **QUICK).fit(X * 1e-60)


def far_away(X, metadata):
    return TopKSAE(8, k=2, **QUICK).fit(X * 1e29 + 1e40)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (two_layers, "hidden layer of 4 units.*to_module"),
        (moving, "canonical activations.*to_module"),
        (pooled, "Set output='equivariant'"),
        (foreign, "it is a PCA"),
        (large, "too large for float32"),
        (small, "lost in float32"),
        (far_away, "too large for float32"),
    ],
)
def test_what_a_format_cannot_say_is_refused_and_writes_nothing(
    make, message, format, tmp_path
):
    X, _, metadata = data()
    with pytest.raises(ValueError, match=message):
        export(make(X, metadata), tmp_path / "exported", format=format)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("activation", ["topk", "batch_topk"])
def test_a_default_k_is_written_as_the_number_that_it_is(format, activation, tmp_path):
    X, _, _ = data()
    sae = TopKSAE(8, activation=activation, **QUICK).fit(X)
    export(sae, tmp_path / "exported", format=format)
    back = READERS[format](tmp_path / "exported")
    assert back.k == 8
    np.testing.assert_allclose(back.transform(X), sae.transform(X), atol=1e-5)


@pytest.mark.parametrize("format", FORMATS)
def test_a_k_that_was_set_after_a_fit_by_a_threshold_is_refused(format, tmp_path):
    sae = TopKSAE(8, k=2, activation="batch_topk", **QUICK).fit(data()[0])
    with pytest.raises(ValueError, match="k=4 was set after a fit"):
        export(sae.set_params(k=4), tmp_path / "exported", format=format)


def test_an_unknown_format_and_an_unfitted_autoencoder_are_refused(tmp_path):
    sae, _ = exportable("default", 0)
    with pytest.raises(ValueError, match="Choose one of saelens, dictionary_learning"):
        export(sae, tmp_path / "exported", format="onnx")
    with pytest.raises(NotFittedError):
        export(clone(sae), tmp_path / "exported")


def test_an_export_takes_the_place_of_an_empty_folder_alone(tmp_path):
    sae, _ = exportable("default", 0)
    export(sae, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FileExistsError, match="is there already"):
        export(sae, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_fails_on_the_way_is_not_there(tmp_path):
    def write_half():
        with atomic_folder(tmp_path / "folder") as part:
            (part / "first").write_bytes(b"1")
            assert not (tmp_path / "folder").exists()
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_half()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def saelens(tmp_path):
    """A folder that SAELens could have written, and a way to change its settings."""
    export(exportable("default", 0)[0], tmp_path / "folder")
    return tmp_path / "folder"


def change(path, **changes):
    settings = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in settings.items() if v != ABSENT}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": ABSENT}, "has no 'k'"),
        ({"k": 0}, "k has to be a whole number from 1"),
        ({"k": 2.5}, "k has to be a whole number"),
        ({"k": True}, "k has to be a whole number"),
        ({"k": 25}, "k=25 is more than the latents"),
        ({"architecture": "gated"}, "architecture has to be 'topk' or 'jumprelu'"),
        ({"architecture": ABSENT}, "has no 'architecture'"),
        ({"dtype": "bfloat16"}, "dtype has to be 'float32'"),
        ({"dtype": ABSENT}, "has no 'dtype'"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations has to be"),
        ({"reshape_activations": "hook_z"}, "reshape_activations has to be 'none'"),
        ({"apply_b_dec_to_input": 1}, "apply_b_dec_to_input has to be True or False"),
        ({"rescale_acts_by_decoder_norm": "no"}, "rescale_acts_by_decoder_norm"),
        ({"d_in": 13}, r"shape \(13, 24\), as the settings say"),
        ({"d_sae": 2**70}, "d_sae has to be a whole number"),
        ({"d_sae": 10**12}, "as the settings say"),
        ({"new": 1}, "nothing is known of 'new'"),
        ({"metadata": {}}, "sae_lens_version has to be"),
        ({"metadata": {"sae_lens_version": "5.11.0"}}, "save it again"),
        ({"metadata": []}, "metadata has to be an object"),
    ],
    ids=str,
)
def test_saelens_settings_that_mean_something_else_are_refused(
    changes, message, saelens
):
    change(saelens / "cfg.json", **changes)
    with pytest.raises(ValueError, match=message):
        from_saelens(saelens)


@pytest.mark.parametrize(
    ("details", "threshold", "message"),
    [
        ({}, np.full(24, 0.5), "trained as batchtopk"),
        ({"training_architecture": "jumprelu"}, np.full(24, 0.5), "as batchtopk"),
        (
            {
                "training_architecture": "batchtopk",
                "training_architecture_details": {"k": 3},
            },
            np.linspace(0, 1, 24),
            "same for all latents",
        ),
    ],
)
def test_a_jumprelu_that_was_no_batch_topk_is_refused(
    details, threshold, message, saelens
):
    path = saelens / "cfg.json"
    settings = json.loads(path.read_text())
    for name in ("k", "rescale_acts_by_decoder_norm"):
        settings.pop(name)
    settings["metadata"] |= details
    path.write_text(json.dumps(settings | {"architecture": "jumprelu"}))
    weights = saelens / "sae_weights.safetensors"
    arrays = load_file(weights) | {"threshold": threshold.astype(np.float32)}
    save_file(arrays, weights)
    with pytest.raises(ValueError, match=message):
        from_saelens(saelens)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda arrays: arrays.pop("b_enc"), "has to hold W_enc, b_enc"),
        (lambda arrays: arrays.update(more=np.zeros(1)), "not 'W_dec'"),
        (lambda arrays: arrays["W_dec"].fill(np.nan), "components_ holds NaN"),
        (
            lambda arrays: arrays.update(b_dec=np.zeros(12)),
            "b_dec has to be of float32",
        ),
        (
            lambda arrays: arrays.update(W_enc=arrays["W_dec"]),
            r"W_enc has to be .* found float32 and \(24, 12\)",
        ),
    ],
)
def test_saelens_weights_that_do_not_fit_are_refused(edit, message, saelens):
    path = saelens / "sae_weights.safetensors"
    arrays = load_file(path)
    edit(arrays)
    save_file(arrays, path)
    with pytest.raises(ValueError, match=message):
        from_saelens(saelens)


def test_vectors_of_no_length_cannot_be_rescaled(saelens):
    change(saelens / "cfg.json", rescale_acts_by_decoder_norm=True)
    path = saelens / "sae_weights.safetensors"
    arrays = load_file(path)
    arrays["W_dec"][3] = 0
    save_file(arrays, path)
    with pytest.raises(ValueError, match="row of norm 0"):
        from_saelens(saelens)


@pytest.fixture
def learned(tmp_path):
    """A folder that dictionary_learning could have written."""
    export(exportable("default", 0)[0], tmp_path / "folder", "dictionary_learning")
    return tmp_path / "folder"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dict_class": "GatedAutoEncoder"}, "dict_class has to be 'AutoEncoderTopK'"),
        ({"dict_class": ABSENT}, "has no 'dict_class'"),
        ({"k": ABSENT}, "has no 'k'"),
        ({"k": 4}, "k is 3 in ae.pt, but 4 beside it"),
        ({"dict_size": 25}, "dict_size does not fit the 24"),
        ({"activation_dim": "12"}, "activation_dim has to be a whole number"),
    ],
    ids=str,
)
def test_dictionary_learning_settings_that_do_not_fit_are_refused(
    changes, message, learned
):
    path = learned / "config.json"
    trainer = json.loads(path.read_text())["trainer"] | changes
    trainer = {name: value for name, value in trainer.items() if value != ABSENT}
    path.write_text(json.dumps({"trainer": trainer}))
    with pytest.raises(ValueError, match=message):
        from_dictionary_learning(learned)


@pytest.mark.parametrize("text", ["[]", '{"trainer": 1}', "{}", " " * (2**20 + 1)])
def test_dictionary_learning_settings_that_are_none_are_refused(text, learned):
    (learned / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"cannot read .* as dictionary_learning's"):
        from_dictionary_learning(learned)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: state.pop("threshold"), "has to hold enc"),
        (lambda state: state.update(more=torch.zeros(1)), "not .*'more'"),
        (lambda state: state.update(b_dec=[0.0] * 12), "is no tensor"),
        (lambda state: state.update(b_dec=torch.zeros(3)), "b_dec has to be of"),
        (lambda state: state.update(k=torch.tensor(3.0)), "hold k, a whole number"),
        (lambda state: state["encoder.bias"].fill_(torch.nan), "holds NaN"),
        (
            lambda state: state.update({"encoder.weight": torch.zeros(3)}),
            "no encoder.weight of two dimensions",
        ),
        (
            lambda state: state.update(
                {"encoder.weight": torch.zeros(1, 1).expand(24, 12)}
            ),
            "more entries than there are numbers",
        ),
        (
            lambda state: state.update(b_dec=torch.zeros(12, dtype=torch.bfloat16)),
            "torch BFloat16Storage",
        ),
        (lambda state: state.update(more=bytearray(8)), "bytearray"),
        (
            lambda state: state.update(more=torch.nn.Parameter(torch.zeros(1))),
            "_rebuild_parameter",
        ),
        (lambda state: state.update(more=torch.eye(2).to_sparse()), "sparse"),
        (
            lambda state: state.update(more=torch.zeros(3, device="meta")),
            "_rebuild_meta_tensor",
        ),
    ],
)
def test_weights_of_dictionary_learning_that_do_not_fit_are_refused(
    edit, message, learned
):
    path = learned / "ae.pt"
    state = torch.load(path, weights_only=True)
    edit(state)
    torch.save(state, path)
    with pytest.raises(ValueError, match=message):
        from_dictionary_learning(learned)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_in_ae_pt_is_not_run(protocol, zipped, learned, tmp_path):
    state = {"encoder.weight": Payload(tmp_path / "run")}
    torch.save(
        state,
        learned / "ae.pt",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(ValueError, match=r"ae\.pt"):
        from_dictionary_learning(learned)
    (learned / "ae.pt").write_bytes(pickle.dumps(state, protocol))
    with pytest.raises(ValueError, match=r"no file of torch\.save"):
        from_dictionary_learning(learned)
    assert not (tmp_path / "run").exists()


def test_torch_does_not_run_a_pickle_either(learned, tmp_path, monkeypatch):
    """The second lock, with the first one open."""
    monkeypatch.setattr(_dictionary_learning, "_check_pickle", lambda content: None)
    torch.save({"encoder.weight": Payload(tmp_path / "run")}, learned / "ae.pt")
    with pytest.raises(ValueError, match=r"torch cannot read ae\.pt"):
        from_dictionary_learning(learned)
    assert not (tmp_path / "run").exists()


def test_types_that_a_program_has_allowed_torch_are_not_built(learned):
    """A program may let torch.load build more types, but not this file's reader."""
    state = torch.load(learned / "ae.pt", weights_only=True)
    with torch.serialization.safe_globals([Payload]):
        torch.save({**state, "more": Payload("x").__class__}, learned / "ae.pt")
        with pytest.raises(ValueError, match="Payload"):
            from_dictionary_learning(learned)


def rezipped(path, compression, edit=lambda name, content: content):
    """Write the members of a zip archive anew."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, edit(name, content))


def test_members_that_are_longer_than_the_file_are_refused(learned):
    rezipped(learned / "ae.pt", zipfile.ZIP_STORED)
    from_dictionary_learning(learned)
    rezipped(learned / "ae.pt", zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"no file of torch\.save"):
        from_dictionary_learning(learned)


def with_another_spelling(path):
    """Add the evil twin of a member, which torch, blind for case, would find first."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    [pickled] = [name for name in members if name.endswith("data.pkl")]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(pickled.upper(), pickle.dumps({"other": 1}, 2))
        for name, content in members.items():
            archive.writestr(name, content)


def with_a_pickle_before(path):
    path.write_bytes(pickle.dumps({"other": 1}, 2) + path.read_bytes())


def with_another_archive_before(path):
    path.write_bytes(path.read_bytes() * 2)


@pytest.mark.parametrize(
    "spoil", [with_another_spelling, with_a_pickle_before, with_another_archive_before]
)
def test_what_reads_differently_for_zipfile_and_torch_is_refused(spoil, learned):
    spoil(learned / "ae.pt")
    with pytest.raises(ValueError, match=r"no file of torch\.save"):
        from_dictionary_learning(learned)


@pytest.mark.parametrize("name", ["ae.pt", "config.json"])
def test_a_pipe_in_a_folder_of_dictionary_learning_is_refused(name, learned):
    (learned / name).unlink()
    os.mkfifo(learned / name)
    with pytest.raises(ValueError, match="no regular file"):
        from_dictionary_learning(learned)


@pytest.mark.parametrize("name", ["cfg.json", "sae_weights.safetensors"])
def test_a_link_to_a_pipe_in_a_folder_of_saelens_is_refused(name, saelens):
    (saelens / name).unlink()
    os.mkfifo(saelens / "pipe")
    (saelens / name).symlink_to(saelens / "pipe")
    with pytest.raises(ValueError, match="no regular file"):
        from_saelens(saelens)


def test_a_tensor_that_claims_more_than_its_storage_is_refused(learned):
    def larger(name, content):
        return content.replace(b"K\x18", b"K\xff")  # 24 latents

    rezipped(learned / "ae.pt", zipfile.ZIP_STORED, edit=larger)
    with pytest.raises(ValueError, match=r"torch cannot read ae\.pt"):
        from_dictionary_learning(learned)


def test_missing_files_are_named(tmp_path):
    for read in (from_saelens, from_dictionary_learning):
        with pytest.raises(FileNotFoundError):
            read(tmp_path)


@pytest.mark.parametrize("format", FORMATS)
def test_a_mutated_folder_loads_or_is_a_value_error(format, tmp_path):
    export(exportable("default", 0)[0], tmp_path / "folder", format)
    rng = np.random.default_rng(0)
    paths = sorted((tmp_path / "folder").iterdir())
    contents = [path.read_bytes() for path in paths]
    refused = 0
    for i in range(N_MUTATED):
        path, content = paths[i % 2], bytearray(contents[i % 2])
        start = rng.integers(len(content) if i % 4 < 2 else 600)  # headers more often
        content[start : start + rng.integers(1, 9)] = rng.bytes(rng.integers(9))
        path.write_bytes(content)
        try:
            READERS[format](tmp_path / "folder")
        except ValueError:
            refused += 1
        path.write_bytes(contents[i % 2])
    assert refused > N_MUTATED / 4


def test_a_state_dict_as_torch_writes_it_is_read(learned):
    """Of a module: an OrderedDict with an attribute, tensors in any memory order."""
    path = learned / "ae.pt"
    expected = from_dictionary_learning(learned).coefs_[0]
    state = OrderedDict(torch.load(path, weights_only=True))
    state["encoder.weight"] = state["encoder.weight"].T.clone().T
    state["k"] = state["k"].long()  # as older versions have it
    state._metadata = OrderedDict(version=1)
    torch.save(state, path)
    np.testing.assert_array_equal(from_dictionary_learning(learned).coefs_[0], expected)

"""Whatever a file holds, loading it gives an estimator or a clear ValueError."""

import contextlib
import json
import os
import pickle
import re
import time
import tracemalloc
import warnings
from copy import deepcopy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    TopKSAE,
    TruncatedReconstruction,
    load,
    save,
)
from sk_eqsae._tensors import to_bytes
from sk_eqsae.groups import DihedralGroup, ProductGroup
from sk_eqsae.persistence._files import FORMAT_VERSION, from_content
from sk_eqsae.persistence._pack import pack_estimator
from sk_eqsae.sae import Recipe
from tests.fitted import CASES, data, fitted
from tests.instances import QUICK
from tests.test_persistence import assert_same

N_MUTATED = 4_000


def two_layers():
    return TopKSAE(6, k=2, hidden_dim=3, activation="batch_topk", **QUICK)


def summed():
    X, _, metadata = data()
    return ActivationTransformFitter(4).partial_fit(X, **metadata)


def truncated():
    X, y, metadata = data()
    sae = EquivariantSAE(8, k=2, hidden_dim=None, **QUICK).fit(X, **metadata)
    return TruncatedReconstruction(FrozenEstimator(sae), 2).fit(X, y)


def unfitted():
    group = ProductGroup(DihedralGroup(2), DihedralGroup(3))
    return EquivariantSAE(symmetry=group, recipe=Recipe(max_grad_norm=float("inf")))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Bytes of small files of every class."""
    path = tmp_path_factory.mktemp("files") / "file"
    X, _, _ = data()
    estimators = [two_layers().fit(X), summed(), truncated(), unfitted()]
    kinds = {type(e): i for i, (e, _) in reversed(list(enumerate(CASES)))}
    kinds.pop(TruncatedReconstruction)
    contents = []
    for estimator in [*estimators, *map(fitted, kinds.values())]:
        save(estimator, path)
        contents.append(path.read_bytes())
    return contents


@pytest.fixture(scope="module")
def good(files):
    """Bytes of a TopKSAE with two layers."""
    return files[0]


def taken_apart(content):
    """Header, description of the estimator, and data of a file."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    return header, json.loads(header["__metadata__"]["sk_eqsae"]), content[end:]


def put_together(header, description, data):
    header = deepcopy(header)
    if description is not None:
        header["__metadata__"] = {"sk_eqsae": json.dumps(description)}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def in_header(change):
    def changed(content):
        header, description, data = taken_apart(content)
        return put_together(change(header) or header, description, data)

    return changed


def in_description(change):
    def changed(content):
        header, description, data = taken_apart(content)
        return put_together(header, change(description) or description, data)

    return changed


def in_estimator(change):
    def changed(description):
        replaced = change(description["estimator"])
        is_estimator = isinstance(replaced, dict) and "class" in replaced
        return {**description, "estimator": replaced} if is_estimator else None

    return in_description(changed)


def in_array(name, value):
    """Write other values where an array of float32 or float64 begins."""

    def changed(content):
        header, _, data = taken_apart(content)
        start = header[name]["data_offsets"][0]
        dtype = {"F32": "<f4", "F64": "<f8"}[header[name]["dtype"]]
        bytes_ = np.array(value, dtype)
        spoilt = bytearray(data)
        spoilt[start : start + bytes_.nbytes] = bytes_.tobytes()
        return content[: len(content) - len(data)] + bytes(spoilt)

    return changed


def renamed(old, new):
    def change(header):
        header[new] = header.pop(old)

    return in_header(change)


def with_entry(name, **values):
    return in_header(lambda header: header[name].update(values))


def with_parameter(name, value):
    return in_estimator(lambda e: e["parameters"].update({name: value}))


def with_symmetry(description):
    return in_estimator(
        lambda e: {
            "class": "EquivariantSAE",
            "parameters": {"symmetry": {"group": description}},
            "attributes": {},
        }
    )


def with_attribute(name, value):
    return in_estimator(lambda e: e["attributes"].update({name: value}))


def with_header_length(n):
    return lambda content: n.to_bytes(8, "little") + content[8:]


def twice_in_json(content):
    end = 8 + int.from_bytes(content[:8], "little")
    text = content[8:end].rstrip()[:-1] + b', "mean_": {}, "mean_": {}}'
    return len(text).to_bytes(8, "little") + text + content[end:]


def deep(n):
    def changed(content):
        text = b'{"a":' * n + b"1" + b"}" * n
        return len(text).to_bytes(8, "little") + text

    return changed


def deep_description(n):
    def changed(content):
        header, _, data = taken_apart(content)
        header["__metadata__"]["sk_eqsae"] = '{"a":' + "[" * n + "]" * n + "}"
        return put_together(header, None, data)

    return changed


def missing_array(content):
    header, description, data = taken_apart(content)
    name, entry = max(
        ((n, e) for n, e in header.items() if n != "__metadata__"),
        key=lambda item: item[1]["data_offsets"][0],
    )
    del header[name]
    return put_together(header, description, data[: entry["data_offsets"][0]])


class MakesFolder:
    """What a hostile pickle would do."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


HOSTILE = {
    "empty": (lambda c: b"", "cut short: it has 0 bytes"),
    "half a length": (lambda c: c[:5], "cut short: it has 5 bytes"),
    "half a header": (lambda c: c[:100], "cut short: its header has"),
    "half the data": (lambda c: c[:-300], "cut short"),
    "one byte short": (lambda c: c[:-1], "cut short"),
    "one byte more": (lambda c: c + b"x", "file not fully covered"),
    "random bytes": (lambda c: np.random.default_rng(0).bytes(999), "is no safe"),
    "text": (lambda c: (9).to_bytes(8, "little") + b"some text", "no safetensors file"),
    "no UTF-8": (lambda c: (3).to_bytes(8, "little") + b'{"\xff', "invalid UTF-8"),
    "a zip archive": (lambda c: b"PK\x03\x04" + c, "it looks like a zip archive"),
    "a .npy file": (lambda c: b"\x93NUMPY\x01\x00" + c, "it looks like a .npy file"),
    "header of 10 GB": (
        with_header_length(10 * 2**30),
        "its header would have 10737418240 bytes",
    ),
    "header of 2^64": (with_header_length(2**64 - 1), "its header would have 18"),
    "header of 8 MiB": (with_header_length(2**23), "its header has 8388608 bytes"),
    "header of JSON, deep": (deep(50), "missing field `dtype`"),
    "header of JSON, deeper": (deep(100), "missing field `dtype`"),
    "header of JSON, deepest": (deep(10**6), "more than 200000 parts"),
    "description, deep": (deep_description(1000), "nested too deep"),
    "description, deepest": (deep_description(10**6), "more than 200000"),
    "name twice": (twice_in_json, "missing field `dtype`"),
    "not of this package": (
        in_header(lambda h: h.update({"x": h["mean_"]})),
        "invalid offset",
    ),
    "metadata a list": (
        lambda c: put_together({"__metadata__": []}, None, b""),
        "expected a map",
    ),
    "other safetensors": (
        lambda c: put_together({"__metadata__": {"format": "pt"}}, None, b""),
        "not of this package",
    ),
    "no metadata": (lambda c: put_together({}, None, b""), "not of this package"),
    "shape of another size": (with_entry("mean_", shape=[13]), "invalid shape"),
    "shape turned": (with_entry("components_", shape=[12, 6]), "components_ has shape"),
    "shape negative": (with_entry("mean_", shape=[-12]), "integer `-12`"),
    "shape huge": (with_entry("mean_", shape=[2**62, 2**62]), "overflow"),
    "shape huge and empty": (with_entry("mean_", shape=[0, 2**62]), "invalid shape"),
    "shape of bools": (with_entry("mean_", shape=[True] * 3), "boolean `true`"),
    "more dimensions": (with_entry("mean_", shape=[12, 1]), "mean_ has shape (12, 1)"),
    "dtype swap": (
        with_entry("components_", dtype="I32"),
        "components_ has to be of float32, found int32",
    ),
    "dtype swap, half as wide": (
        with_entry("mean_", dtype="F32", shape=[24]),
        "mean_ has to be of float64, found float32",
    ),
    "dtype unknown": (with_entry("mean_", dtype="F8_E4M3"), "invalid shape"),
    "dtype a list": (with_entry("mean_", dtype=["F64"]), "invalid type: sequence"),
    "offsets that overlap": (
        with_entry("mean_", data_offsets=[1, 97]),
        "invalid offset",
    ),
    "offsets turned": (with_entry("mean_", data_offsets=[96, 0]), "invalid offset"),
    "offsets of 10 GB": (
        with_entry("mean_", data_offsets=[0, 10**10], shape=[10**10 // 8]),
        "invalid offset",
    ),
    "missing array": (missing_array, "is missing"),
    "array of nothing": (
        in_header(lambda h: h.update({"x": {**h["mean_"], "data_offsets": [0, 0]}})),
        "invalid shape",
    ),
    "path traversal": (
        renamed("mean_", "../../../../etc/passwd"),
        "array 'mean_' is missing",
    ),
    "path traversal beside the others": (
        in_header(
            lambda h: h.update(
                {"../x": {"dtype": "F64", "shape": [0], "data_offsets": [0, 0]}}
            )
        ),
        "'../x' belongs to nothing",
    ),
    "NaN weights": (in_array("components_", np.nan), "components_ holds NaN"),
    "infinite weights": (in_array("coefs_.1", np.inf), "coefs_.1 holds NaN or inf"),
    "NaN mean": (in_array("mean_", np.nan), "mean_ holds NaN"),
    "NaN number": (with_attribute("scale_", float("nan")), "'NaN' is no number"),
    "scale of zero": (with_attribute("scale_", 0.0), "scale_ has to be positive"),
    "scale of the wrong type": (
        with_attribute("scale_", "1"),
        "scale_ has to be of float",
    ),
    "fewer epochs": (with_attribute("n_iter_", 2), "loss_curve_ has shape (3,)"),
    "NaN errors": (in_array("error_curve_", np.nan), "error_curve_ holds NaN"),
    "more layers": (with_attribute("coefs_", []), "coefs_ has no 0"),
    "coefs_ an object": (
        with_attribute("coefs_", {"dict": {}}),
        "coefs_ has to be of list",
    ),
    "unknown attribute": (
        with_attribute("transform", 1),
        "'transform' is nothing that fit sets",
    ),
    "a method as attribute": (
        with_attribute("_validate_params", 1),
        "'_validate_params' is nothing",
    ),
    "__class__": (with_attribute("__class__", "os.system"), "'__class__' is nothing"),
    "names too few": (
        with_attribute("feature_names_in_", {"strings": ["a"]}),
        "feature_names_in_ has shape (1,)",
    ),
    "names of the wrong type": (
        with_attribute("feature_names_in_", {"strings": [1] * 12}),
        "is a 'strings' that nothing",
    ),
    "class of another package": (
        in_estimator(lambda e: e.update({"class": "os.system"})),
        "class 'os.system' is none of",
    ),
    "class of scikit-learn": (
        in_estimator(lambda e: e.update({"class": "sklearn.decomposition.PCA"})),
        "class 'sklearn.decomposition.PCA' is none of",
    ),
    "class a dunder": (
        in_estimator(lambda e: e.update({"class": "__import__"})),
        "class '__import__' is none of",
    ),
    "class a list": (in_estimator(lambda e: e.update({"class": []})), "class list is"),
    "another class of ours": (
        in_estimator(lambda e: e.update({"class": "EquivariantSAE"})),
        "it has no symmetry_, order_, activation_transform_",
    ),
    "no class": (
        in_estimator(lambda e: e.__delitem__("class")),
        "has to have attributes, cl",
    ),
    "no estimator": (
        in_description(lambda d: {"format_version": 1}),
        "other parts than it should",
    ),
    "estimator a list": (in_description(lambda d: {**d, "estimator": []}), "has to"),
    "later format": (
        in_description(lambda d: d.update({"format_version": 2})),
        "it has format version 2, but sk-eqsae 0.1.0 reads version 1",
    ),
    "format of another type": (
        in_description(lambda d: d.update({"format_version": True})),
        "it has format version True",
    ),
    "parameter of the wrong type": (with_parameter("k", "2"), "'k' parameter"),
    "parameter out of range": (with_parameter("lr", -1.0), "'lr' parameter"),
    "parameter unknown": (with_parameter("evil", 1), "unknown parameter 'evil'"),
    "k too large": (
        in_estimator(
            lambda e: e["parameters"].update({"activation": "topk", "k": 10**9})
        ),
        "k=1000000000 is more than the latents",
    ),
    "device": (with_parameter("device", "rm -rf"), "unknown parameter 'device'"),
    "checkpoint": (
        with_parameter("checkpoint", "/etc/passwd"),
        "unknown parameter 'checkpoint'",
    ),
    "group for a number": (
        with_parameter("k", {"group": ["CyclicGroup", 3]}),
        "k is a 'group' that nothing can be made of",
    ),
    "group of 10^12": (
        with_symmetry(["CyclicGroup", 10**12]),
        "more than 10,000",
    ),
    "product of groups": (
        with_symmetry(["ProductGroup", *[["CyclicGroup", 9]] * 9]),
        "more than 10,000",
    ),
    "groups in a list": (
        with_parameter("nested", [{"group": ["CyclicGroup", 4]}] * 40),
        "nested.0 is a 'group' that nothing can be made of",
    ),
    "estimators in a list": (
        with_parameter("nested", [{"estimator": {}}] * 40),
        "nested.0 is a 'estimator' that nothing can be made of",
    ),
    "long permutations": (
        with_symmetry(["GeneratedGroup", [[*range(1, 50_000), 0]] * 2, []]),
        "steps to check",
    ),
    "no group": (with_symmetry(["eval", "1"]), "is no group of sk_eqsae"),
    "recipe": (
        with_parameter("recipe", {"recipe": {"lr_decay": "x"}}),
        "'lr_decay' parameter of Recipe",
    ),
    "recipe unknown": (with_parameter("recipe", {"recipe": {"x": 1}}), "parameter 'x'"),
    "tag unknown": (
        with_parameter("k", {"py/object": "os.system"}),
        "k is a 'py/object' that nothing",
    ),
    "scalar of no type": (with_parameter("k", {"object": 1}), "is a 'object'"),
    "scalar too large": (with_parameter("k", {"int8": 300}), "is no int8"),
    "output": (
        with_attribute("_sklearn_output_config", {"dict": {"transform": "os"}}),
        "output of transform has to be",
    ),
    "requests": (
        with_attribute("_metadata_request", {"dict": {"__init__": {"dict": {}}}}),
        "only be requested by the methods",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_file_is_a_clear_error(spoil, message, good, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(spoil(good))
    parts = map(re.escape, message.split("|"))
    with pytest.raises(ValueError, match="|".join(parts)) as error:
        load(path)
    assert str(error.value).startswith(f"cannot load '{path}': ")


def test_a_number_that_overflows_is_an_error(good, tmp_path):
    spoilt = re.sub(rb'(scale_\\":)[0-9.]+', lambda m: m[1] + b"1e9999", good)
    spoilt = (len(spoilt) - len(good) + int.from_bytes(good[:8], "little")).to_bytes(
        8, "little"
    ) + spoilt[8:]
    with pytest.raises(ValueError, match="scale_ has to be finite"):
        from_content(spoilt)


def test_a_file_taken_apart_and_put_together_loads(good):
    X, _, _ = data()
    again = put_together(*taken_apart(good))
    one, two = (from_content(c).transform(X) for c in (good, again))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_in_disguise_is_not_run(protocol, tmp_path):
    path, evil = tmp_path / "model.safetensors", tmp_path / "evil"
    path.write_bytes(pickle.dumps(MakesFolder(str(evil)), protocol=protocol))
    with pytest.raises(ValueError, match="cannot load"):
        load(path)
    assert not evil.exists()
    pickle.loads(path.read_bytes())  # the pickle is a dangerous one
    assert evil.exists()


def test_loading_never_reaches_for_pickle(files, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a pickle was loaded")

    monkeypatch.setattr(pickle, "loads", never)
    monkeypatch.setattr(pickle, "load", never)
    monkeypatch.setattr(pickle, "Unpickler", never)
    monkeypatch.setattr(np, "load", never)
    for content in files:
        from_content(content)


@pytest.mark.parametrize(
    "spoil",
    [
        with_header_length(10 * 2**30),
        with_header_length(2**23),
        with_entry("mean_", data_offsets=[0, 10**10], shape=[10**10 // 8]),
        with_symmetry(["CyclicGroup", 10**12]),
        deep(10**6),
    ],
)
def test_what_a_file_claims_takes_no_memory(spoil, good):
    spoilt = spoil(good)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"."):
        from_content(spoilt)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


def assert_cheap(content):
    """Loaded or refused in a second and 100 MB."""
    start = time.process_time()
    with contextlib.suppress(ValueError):
        from_content(content)
    assert time.process_time() - start < 1
    tracemalloc.start()
    with contextlib.suppress(ValueError):
        from_content(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20


@pytest.mark.parametrize("value", ["[]", "{}", '{"a":0}', "1.5", '"ab"', "0"])
def test_a_header_takes_bounded_memory(value):
    n = (2**23 - 10) // (len(value) + 1)
    text = b'{"__metadata__":{},"a":[' + ",".join([value] * n).encode() + b"]}"
    spoilt = (len(text[: 2**23])).to_bytes(8, "little") + text[: 2**23]
    assert_cheap(spoilt)
    with pytest.raises(ValueError, match="more than 200000 parts"):
        from_content(spoilt)


def permutation(*lengths):
    """Cycles of these lengths."""
    images, start = [], 0
    for length in lengths:
        images += [start + (i + 1) % length for i in range(length)]
        start += length
    return images


def generated(*generators, relations=()):
    return ["GeneratedGroup", list(generators), list(relations)]


BOMBS = {
    "one generator": generated(permutation(16, 125)),
    "many points": generated(permutation(16, 125, *[1] * 24_000)),
    "two generators": generated(permutation(44, *[1] * 44), permutation(*[1] * 44, 44)),
    "long words": generated(permutation(7, 11, 5), relations=[[[0, 384]]] * 4000),
    "many words": generated(permutation(2), relations=[[[0, 1], [0, 1]]] * 5_000),
    "as large as may be": generated(permutation(31, 32), relations=[[[0, 992]]] * 60),
    "nested products": ["ProductGroup", *[["ProductGroup", ["CyclicGroup", 1]]] * 16],
    "symmetric": ["ProductGroup", ["SymmetricGroup", 5], ["CyclicGroup", 83]],
    "cyclic": ["CyclicGroup", 10_000],
    "many different": ["ProductGroup", *(["CyclicGroup", n] for n in range(1, 17))],
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("name", ["symmetry", "nested"])
def test_a_group_takes_no_time_whatever_it_is(name, bomb):
    estimator = {"class": "EquivariantSAE", "parameters": {}, "attributes": {}}
    for _ in range(5):  # one inside the other
        inner = {"activation_transform": {"estimator": estimator}}
        estimator = {**estimator, "parameters": {name: {"group": bomb}, **inner}}
    header = {"format_version": FORMAT_VERSION, "package_version": "0"}
    spoilt = put_together({}, {**header, "estimator": estimator}, b"")
    assert_cheap(spoilt)


def test_a_tree_of_estimators_is_refused():
    leaf = {"class": "ActivationTransformFitter", "parameters": {}, "attributes": {}}
    tree = leaf
    for _ in range(40):
        tree = {
            **leaf,
            "class": "FrozenEstimator",
            "parameters": {"estimator": {"estimator": tree}},
        }
    header = {"format_version": FORMAT_VERSION, "package_version": "0"}
    with pytest.raises(ValueError, match="more than 32 estimators"):
        from_content(put_together({}, {**header, "estimator": tree}, b""))


def walked(tree):
    """Every entry of a JSON value, as a way to change it in a copy."""
    for path in list(paths(tree)):
        for change in (taken_out, *(put_in(value) for value in ALTERED)):
            copy = deepcopy(tree)
            *parents, key = path
            parent = copy
            for name in parents:
                parent = parent[name]
            if change(parent, key):
                yield copy


def paths(tree, path=()):
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in pairs:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from paths(value, (*path, key))


def taken_out(parent, key):
    del parent[key]
    return True


def put_in(value):
    def change(parent, key):
        if type(parent[key]) is type(value) and parent[key] == value:
            return False
        parent[key] = value
        return True

    return change


ALTERED = [None, True, 0, 1, 3, -1, 2**62, 0.5, "x", [], {}, {"array": "C"}]


@pytest.mark.parametrize("part", ["header", "description"])
def test_each_entry_that_is_dropped_or_altered_is_refused_or_means_the_same(
    part, files
):
    """What loads from an altered file can be saved, and comes back the same."""
    n_refused = 0
    for content in files:
        header, description, data = taken_apart(content)
        tree = header if part == "header" else description
        for altered in walked(tree):
            if part == "header":
                spoilt = put_together(altered, None, data)
            else:
                spoilt = put_together(header, altered, data)
            try:
                estimator = from_content(spoilt)
            except ValueError:
                n_refused += 1
                continue
            arrays = {}
            again = pack_estimator(estimator, arrays)
            same = from_content(as_content(again, arrays))
            assert_same(same, estimator)
    assert n_refused > 100


def as_content(description, arrays):
    header = {"format_version": FORMAT_VERSION, "package_version": "0"}
    text = json.dumps({**header, "estimator": description})
    return to_bytes(arrays, {"sk_eqsae": text})


MEMORY = [
    ("optimizer.0.exp_avg", None),
    ("optimizer.3.step", None),
    ("optimizer.0.exp_avg_sq", np.zeros((3, 12), np.float32)),
    ("optimizer.1.step", np.zeros(2, np.float32)),
    ("optimizer.2.exp_avg", np.full((8, 12), np.nan, np.float32)),
    ("optimizer.4.exp_avg", np.zeros((8, 12), np.float32)),
    ("optimizer.4.exp_avg", np.zeros((8, 8), np.float32)),
    ("module.idle", np.zeros(7, np.float32)),
    ("module._extra_state", None),
    ("target_mean", np.zeros(11)),
]


@pytest.mark.parametrize(("name", "value"), MEMORY, ids=[name for name, _ in MEMORY])
def test_what_partial_fit_cannot_go_on_with_is_refused(name, value):
    sae = TopKSAE(8, k=2, **QUICK).partial_fit(data()[0])
    arrays = {}
    description = pack_estimator(sae, arrays)
    memory = description["attributes"]["_memory"]["dict"]
    if value is None:
        del memory[name], arrays[f"_memory.{name}"]
    else:
        memory[name] = {"array": "C"}
        arrays[f"_memory.{name}"] = value
    with pytest.raises(ValueError, match="_memory"):
        from_content(as_content(description, arrays))


def test_parameters_that_a_file_lacks_get_their_default(good):
    older = in_estimator(lambda e: e["parameters"].pop("warm_start"))(good)
    assert from_content(older).warm_start is False


# --- mutated files ---------------------------------------------------------------

VALUES = [
    *(None, True, False, 0, 1, -1, 2, 3, 12, 13, 2**31, 2**63, 10**30, -(2**40)),
    *(0.0, -1.0, 0.5, 1e-300, 1e300, "", "C", "F", "topk", "batch_topk", "x", "inf"),
    *([], [1], [[1]], [0, "a"], {}, {"tuple": []}, {"array": "C"}, {"array": "F"}),
    *({"float": "inf"}, {"scalar": ["float32", 1.5]}, {"strings": ["a"]}),
    *({"group": ["CyclicGroup", 4]}, {"recipe": {}}, {"device": "cpu"}, {"dict": {}}),
    *("TopKSAE", "EquivariantSAE", "GroupTiedSAE", "FrozenEstimator", "invariant"),
    *("ActivationTransformFitter", "MeanDifferenceSelector", "free", "orthogonal"),
]


def changed_bytes(rng, content, files):
    spoilt = bytearray(content)
    for place in rng.integers(len(spoilt), size=rng.integers(1, 9)):
        spoilt[place] = rng.integers(256)
    return bytes(spoilt)


def changed_header_bytes(rng, content, files):
    end = 8 + int.from_bytes(content[:8], "little")
    return changed_bytes(rng, content[:end], files) + content[end:]


def cut_short(rng, content, files):
    return content[: rng.integers(len(content))]


def with_a_piece_more_or_less(rng, content, files):
    start, stop = np.sort(rng.integers(len(content), size=2))
    if rng.random() < 0.5:
        return content[:start] + content[stop:]
    return content[:stop] + content[start:]


def with_two_parents(rng, content, files):
    other = files[rng.integers(len(files))]
    if rng.random() < 0.5:
        place = rng.integers(min(len(content), len(other)))
        return content[:place] + other[place:]
    header, _, data = taken_apart(content)
    return put_together(header, taken_apart(other)[1], data)


def with_other_numbers(rng, content, files):
    end = 8 + int.from_bytes(content[:8], "little")
    data = bytearray(content[end:])
    if data:
        value = rng.choice([np.nan, np.inf, -1.0, 0.0, 1e30, 1e300, 1e-320])
        dtype, size = (("<f4", 4), ("<f8", 8))[rng.integers(2)]
        start = size * rng.integers(max(1, len(data) // size))
        with np.errstate(over="ignore"):
            data[start : start + size] = np.array(value).astype(dtype).tobytes()
    return content[:end] + bytes(data)


def nodes(value):
    """Every container in a JSON value, with each of its keys."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in list(pairs):
            yield value, key
            yield from nodes(child)


def change_node(rng, tree):
    places = list(nodes(tree))
    parent, key = places[rng.integers(len(places))]
    other, other_key = places[rng.integers(len(places))]
    action = rng.integers(5)
    if action == 0:
        parent.pop(key)
    elif action == 1:
        parent[key] = deepcopy(other[other_key])
    elif action == 2 and isinstance(parent, dict) and isinstance(other, dict):
        parent[other_key] = parent.pop(key)
    elif isinstance(parent[key], int | float) and rng.random() < 0.5:
        parent[key] = parent[key] * int(rng.integers(-1, 3)) + int(rng.integers(-1, 2))
    else:
        parent[key] = deepcopy(VALUES[rng.integers(len(VALUES))])


def with_another_description(rng, content, files):
    header, description, data = taken_apart(content)
    for _ in range(rng.integers(1, 4)):
        change_node(rng, description)
    return put_together(header, description, data)


def with_another_header(rng, content, files):
    header, description, data = taken_apart(content)
    header.pop("__metadata__")
    if header:
        change_node(rng, header)
    return put_together(header, description, data)


MUTATIONS = [
    (changed_bytes, 1),
    (changed_header_bytes, 2),
    (cut_short, 0.5),
    (with_a_piece_more_or_less, 0.5),
    (with_two_parents, 1),
    (with_other_numbers, 1),
    (with_another_description, 4),
    (with_another_header, 2),
]


def outcome(content, X):
    """Load and use a file; anything but a ValueError is let through."""
    try:
        estimator = from_content(content)
    except ValueError:
        return "refused"
    try:
        estimator.transform(X[:, : getattr(estimator, "n_features_in_", 12)])
    except ValueError:
        return "loaded, but not fit for use"
    return "loaded and used"


def test_a_mutated_file_loads_or_is_a_value_error(files):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3, 12))
    mutations, weights = zip(*MUTATIONS, strict=True)
    shares = np.array(weights) / np.sum(weights)
    counts = {"refused": 0, "loaded, but not fit for use": 0, "loaded and used": 0}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # huge weights overflow
        for _ in range(N_MUTATED):
            mutate = mutations[rng.choice(len(mutations), p=shares)]
            content = mutate(rng, files[rng.integers(len(files))], files)
            counts[outcome(content, X)] += 1
    assert counts["refused"] > N_MUTATED / 3, counts
    assert counts["loaded and used"] > N_MUTATED / 20, counts


def test_cloning_what_was_loaded_gives_the_same_parameters(files):
    for content in files:
        estimator = from_content(content)
        assert repr(clone(estimator)) == repr(estimator)


def test_a_fitter_that_counts_epochs_needs_their_losses(tmp_path):
    X, _, metadata = data()
    fitter = ActivationTransformFitter(4, solver="adam", **QUICK).fit(X, **metadata)
    save(fitter, tmp_path / "file")
    spoil = in_estimator(lambda e: e["attributes"].__delitem__("loss_curve_"))
    with pytest.raises(ValueError, match="it has no loss_curve_"):
        from_content(spoil((tmp_path / "file").read_bytes()))

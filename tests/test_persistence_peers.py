"""What we write, other libraries read to the same outputs, and the other way round."""

from importlib.util import find_spec

import pytest

from sk_eqsae import export
from tests.peers import (
    CASES,
    FORMATS,
    READERS,
    assert_same,
    exportable,
    format_of,
    outputs,
    rows,
    write_all,
)

pytestmark = [
    pytest.mark.skipif(
        not (find_spec("sae_lens") and find_spec("dictionary_learning")),
        reason="needs the extra 'interop'",
    ),
    pytest.mark.filterwarnings("ignore"),  # theirs
]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("name", "offset"), CASES)
def test_the_library_encodes_and_decodes_an_export_to_the_same(
    name, offset, format, tmp_path
):
    sae, X = exportable(name, offset)
    export(sae, tmp_path / "exported", format=format)
    assert_same(sae, X, *outputs(format, tmp_path / "exported", X))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    return [folder / name for name in write_all(folder)]


def test_an_import_encodes_and_decodes_to_the_same(written):
    assert len(written) == 8
    for folder in written:
        format = format_of(folder.name)
        assert_same(READERS[format](folder), rows(), *outputs(format, folder, rows()))

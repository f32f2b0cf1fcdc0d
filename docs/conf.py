"""Sphinx settings: make docs."""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "sk-eqsae"
author = "The sk-eqsae developers"
copyright = author
_METADATA = metadata("sk-eqsae")
release = version = _METADATA["Version"]
# where the sources are, as soon as pyproject.toml names a place under urls
_URLS = dict(url.split(", ") for url in _METADATA.get_all("Project-URL", []))
REPOSITORY = _URLS.get("Repository")
WHEEL = f"sk_eqsae-{version}-py3-none-any.whl"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "mathml",  # beside this file
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "gallery", "README.md"]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "dollarmath"]
# prompts, and what is printed, are not copied
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_selector = "div:not(.highlight-none, .highlight-text) > .highlight > pre"
autosummary_generate = True
highlight_language = "none"  # formulas are no Python; examples say so themselves
autodoc_typehints = "none"  # numpydoc says them, with shapes
numpydoc_show_class_members = False

nitpicky = True  # a name that no page explains is an error
# Other projects' pages can only be linked with a network at hand.
if os.environ.get("DOCS_OFFLINE"):
    nitpick_ignore_regex = [("py:.*", r"sklearn\..*")]
else:
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "sklearn": ("https://scikit-learn.org/stable/", None),
    }

html_theme = "pydata_sphinx_theme"
html_title = "sk-eqsae"
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "navbar_align": "left",
    "icon_links": [
        {"name": "Sources", "url": url, "icon": "fa-solid fa-code-branch"}
        for url in [REPOSITORY]
        if url
    ],
}
# what stands alone has no pages beside it to show
html_sidebars = {
    page: []
    for page in (
        "index",
        "getting_started",
        "paper",
        "benchmarks",
        "real",
        "reliability",
        "changes",
        "glossary",
    )
}

# of notebooks, such as on Colab
_INSTALL = f"""\
# Where the package is not installed: upload {WHEEL}, which is
# beside this notebook on the site, or made by `make dist`.
import importlib.util

if importlib.util.find_spec("sk_eqsae") is None:
    %pip install --quiet {f"git+{REPOSITORY}" if REPOSITORY else WHEEL}
"""
rst_prolog = f"""
.. |wheel| raw:: html

   <a href="../_static/{WHEEL}">the wheel of the package</a>
"""

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "first_notebook_cell": _INSTALL,
    "remove_config_comments": True,
    "image_srcset": ["2x"],
    "matplotlib_animations": False,
    "min_reported_time": 3600,  # how long the machine that built the site took
    "write_computation_times": False,
    "doc_module": ("sk_eqsae",),
    "backreferences_dir": "auto_examples/backreferences",
    "reference_url": {"sk_eqsae": None},
}


_MADE = {"auto_examples", "generated"}


def skip_foreign(app, what, name, obj, skip, options):  # noqa: PLR0917
    """Leave out what scikit-learn and torch document themselves."""
    module = getattr(obj, "__module__", None) or ""
    return skip or module.startswith(("sklearn", "torch"))


def write_files(app):
    """Write what the site offers beside its pages: an explorer to try, the package."""
    if app.builder.format != "html":
        return
    from explorer_page import write  # noqa: PLC0415 - it trains a network

    static = Path(app.srcdir) / "_static"
    write(static / "explorer.html")
    _write_wheel(static.parents[1], static)


def _write_wheel(sources, folder):
    """Build from a copy, since a build leaves files beside the sources."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    with tempfile.TemporaryDirectory() as copy:
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(sources / name, copy)
        shutil.copytree(sources / "sk_eqsae", f"{copy}/sk_eqsae")
        command += ["--no-build-isolation", "--wheel-dir", str(folder), copy]
        subprocess.run(command, check=True)


def link_glossary(app, doctree):
    """Link words of the glossary where a page written by hand first uses them."""
    from glossary_links import link_words  # noqa: PLC0415 - beside this file

    page = app.env.docname
    if page not in {"glossary", "changes"} and page.split("/")[0] not in _MADE:
        link_words(doctree)


def setup(app):
    """Connect the functions above."""
    app.connect("builder-inited", write_files)
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("doctree-read", link_glossary)

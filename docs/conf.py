"""Sphinx: the programs of the tutorial and beside it become pages, and the results of runs tables. Without a network:
`python -m sphinx -W docs docs/build/html`."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for docstrings.py and solutions.py
# In processes of their own: what they import is no part of what the chapters run in.
for made in ("gallery.py", "results.py", "unrolled.py", "commands.py", "zoo.py"):
    subprocess.run([sys.executable, Path(__file__).with_name(made)], check=True)

project = "tinygrad_rnn"
extensions = ["sphinx.ext.autodoc", "docstrings", "sphinx.ext.napoleon", "sphinx_gallery.gen_gallery", "solutions"]
smartquotes = False
default_role = "name"  # single backquotes: code, and a link to what the reference has
add_module_names = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 120
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes say more, and stand with the arguments
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_param = False  # "query, keys: ..." is one entry
html_theme = "furo"
html_title = "tinygrad_rnn"
exclude_patterns = ["build", "tasks/numbers_*.rst", "zoo/*"]
templates_path: list[str] = []
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_show_copyright = False

sphinx_gallery_conf = {
    "examples_dirs": ["../examples/tutorial", "../examples/further"],
    "gallery_dirs": ["tutorial", "further"],
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "min_reported_time": 1,
    "plot_gallery": True,
    "default_thumb_file": str(Path(__file__).with_name("unrolled") / "thumbnail.svg"),
}

warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")  # plt.show(): the page shows it

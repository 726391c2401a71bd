"""Sphinx: the tutorial's programs become pages, and the results of runs tables. Without a network:
`python -m sphinx -W docs docs/build/html`."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

# In processes of their own: what they import is no part of what the chapters run in.
for made in ("gallery.py", "results.py", "zoo.py"):
    subprocess.run([sys.executable, Path(__file__).with_name(made)], check=True)

project = "tinygrad_rnn"
extensions = ["sphinx_gallery.gen_gallery"]
smartquotes = False
html_theme = "furo"
html_title = "tinygrad_rnn"
exclude_patterns = ["build", "tasks/numbers_*.rst", "zoo/*"]
templates_path: list[str] = []
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_show_copyright = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples/tutorial",
    "gallery_dirs": "tutorial",
    "filename_pattern": r"/\d\d_",
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "min_reported_time": 1,
    "plot_gallery": True,
}

warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")  # plt.show(): the page shows it

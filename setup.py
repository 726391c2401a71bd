"""Where the packages lie; everything else is in pyproject.toml.

`src/tinygrad_rnn` and the two links in `tinygrad_rnn/` make an editable install one plain path, which type checkers can
follow. A copy without symbolic links (git on Windows by default, an archive that pip unpacks) installs by a map.
"""

from pathlib import Path

from setuptools import find_packages, setup

if (Path(__file__).parent / "src/tinygrad_rnn/ops/__init__.py").is_file():
    setup(package_dir={"": "src"}, packages=find_packages("src"))
else:
    folders = {"tinygrad_rnn": "tinygrad_rnn", "tinygrad_rnn.ops": "ops", "tinygrad_rnn.models": "models"}
    for name, folder in list(folders.items()):
        for inner in find_packages(folder):
            folders[f"{name}.{inner}"] = f"{folder}/{inner.replace('.', '/')}"
    setup(package_dir=folders, packages=[*folders])

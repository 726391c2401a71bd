"""The Python files that a cell or a task of the user's own consists of, its own and those beside it that it imports:
read, hashed and run."""

from __future__ import annotations

import ast
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

from tinygrad_rnn.frames import USER_FILE


@dataclass(frozen=True)
class OwnSources:
    """The contents of files by the names of their modules, of which `main` is the class's own. What was read is what is
    hashed and what runs: never a compiled file that lies there as well, nor one that was changed since."""

    main: str
    files: dict[str, Path]
    contents: dict[str, bytes]

    @classmethod
    def read(cls, path: Path, kind: str) -> OwnSources:
        """The file of a class, which is of a kind, "cell" or "task", and all beside it that it imports, however
        indirectly. Raises OSError."""
        path = path.resolve()
        main = f"{USER_FILE}{kind}_{path.stem}"
        files, contents = {main: path}, {main: path.read_bytes()}
        waiting = [main]
        while waiting:
            for name, file in _beside(path.parent, contents[waiting.pop()]):
                if name not in files:
                    files[name], contents[name] = file, file.read_bytes()
                    waiting.append(name)
        return cls(main, files, contents)

    @property
    def path(self) -> Path:
        """The class's own file."""
        return self.files[self.main]

    @property
    def sha256(self) -> str:
        """Of the class's own file."""
        return hashlib.sha256(self.contents[self.main]).hexdigest()

    @property
    def beside(self) -> dict[str, str]:
        """The SHA-256 of the other files, by the names of their modules."""
        return {
            name: hashlib.sha256(data).hexdigest() for name, data in sorted(self.contents.items()) if name != self.main
        }

    def record(self, found: type) -> dict[str, Any]:
        """What a checkpoint says of a class in them, as JSON values."""
        return {
            "file": str(self.path),
            "class": found.__name__,
            "sha256": self.sha256,
            "beside": self.beside,
        }

    def run(self) -> ModuleType:
        """Imports the file, which runs it. What it imports from beside it is found then and later; `sys.path`
        stays as it is. Raises whatever the file raises."""
        for name in self.files:
            if isinstance(getattr(sys.modules.get(name), "__loader__", None), _Importer):
                del sys.modules[name]  # as it was when it was run before
        others = [each for each in sys.meta_path if not (isinstance(each, _Importer) and each.serves(self.main))]
        importer = _Importer(self)
        sys.meta_path[:] = [importer, *others]
        module = importlib.util.module_from_spec(importer.spec(self.main))
        sys.modules[self.main] = module
        importer.exec_module(module)
        return module


class _Importer(importlib.abc.InspectLoader, importlib.abc.MetaPathFinder):
    """Imports modules from what was read of their files."""

    def __init__(self, sources: OwnSources) -> None:
        self._sources = sources

    @property
    def main(self) -> str:
        """The module of the class."""
        return self._sources.main

    def serves(self, name: str) -> bool:
        """Whether the module is one of these."""
        return name in self._sources.files

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return self.spec(fullname) if self.serves(fullname) else None

    def spec(self, name: str) -> importlib.machinery.ModuleSpec:
        """How one of the modules is made."""
        place = str(self._sources.files[name])
        found = importlib.machinery.ModuleSpec(name, self, origin=place, is_package=self.is_package(name))
        found.has_location = True
        return found

    def get_source(self, fullname: str) -> str:
        """For tracebacks, and for `inspect`."""
        return importlib.util.decode_source(self._sources.contents[fullname])

    def get_code(self, fullname: str) -> CodeType:
        """What runs. Raises SyntaxError, ValueError."""
        return self.source_to_code(self._sources.contents[fullname], str(self._sources.files[fullname]))

    def is_package(self, fullname: str) -> bool:
        return self._sources.files[fullname].name == "__init__.py"


def main_of(frame: FrameType) -> str | None:
    """The module of the class whose files the code of a frame is from, its own or one beside it; None for others."""
    loader = frame.f_globals.get("__loader__")
    return loader.main if isinstance(loader, _Importer) else None


def _beside(folder: Path, source: bytes) -> Iterator[tuple[str, Path]]:
    """The modules in a folder that a source imports, a package with all that is in it: their names and files."""
    for name in sorted(_imported(source)):
        single, package = folder / f"{name}.py", folder / name / "__init__.py"
        found = package if package.is_file() else single
        if found.is_file() and not _installed(name, found):
            yield name, found
            for inner in sorted(found.parent.rglob("*.py")) if found == package else ():
                if inner != package:
                    parts = inner.relative_to(folder).with_suffix("").parts
                    yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), inner


def _imported(source: bytes) -> set[str]:
    """The top-level names that a source imports; none of one that is no Python, which fails when it is run."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names}


def _installed(name: str, file: Path) -> bool:
    """Whether the name is that of another module, which wins over the file: Python's own, or one that is installed."""
    if name == "tinygrad_rnn" or name in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    if spec is None or spec.origin is None or isinstance(spec.loader, _Importer):
        return False
    return Path(spec.origin).resolve() != file.resolve()

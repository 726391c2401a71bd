"""Mutation testing: one small fault at a time, put into a copy of the source, and the tests that ought to see it.

    pip install -e '.[test,mutation]'
    python mutations/mutate.py                            # 40 faults, drawn with seed 0: half an hour on one core
    python mutations/mutate.py ops/losses.py --sample 0   # all faults of a file
    python mutations/mutate.py loops --sample 100 --seed 3 --jobs 2

A fault (of cosmic-ray's kinds: another operator, another comparison, a number one more or less, a condition turned, a
loop that does not run) counts as seen when a test fails, or ends in no time. First the tests of the file's own subject
run, then, if these saw nothing, the whole quick suite. Faults that nothing sees are printed; those of `survivors.toml`
are known, each with the reason why it is none. The exit status is 1 where there is another.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

ROOT = Path(__file__).parents[1]
KNOWN = Path(__file__).with_name("survivors.toml")
PATIENCE = 3600  # seconds that tests may take

KINDS = (
    *(f"ReplaceBinaryOperator_{kind}" for kind in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "Pow_Mul")),
    *(f"ReplaceBinaryOperator_{kind}" for kind in ("Mod_Mul", "FloorDiv_Mul", "BitAnd_BitOr")),
    *(f"ReplaceComparisonOperator_{kind}" for kind in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Eq_NotEq", "NotEq_Eq")),
    *(f"ReplaceComparisonOperator_{kind}" for kind in ("Lt_Gt", "Gt_Lt", "Is_IsNot", "IsNot_Is")),
    *("ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Not", "ReplaceTrueWithFalse"),
    *("ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "NumberReplacer", "AddNot"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop"),
)

SUBJECTS = {
    "ops": "test_edges test_padding test_sums test_known_numbers test_numpy_protocol test_ops test_gpu",
    "optim": "test_optim test_changes test_rowsparse",
    "loops": "test_scratch test_trees test_compiled_edges test_compiled_scan test_optimised_programs test_explain "
    "test_compiled_contractions test_compiled_seeding test_compiled_cells test_compiled_recurrent",
}
"""The folders that are mutated, and the tests of their subject."""


@dataclass(frozen=True)
class Fault:
    """A file (from the root), and one line of it as it is and as it becomes."""

    file: str
    line: int
    before: str
    after: str
    source: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What a known survivor is recognised by, wherever its line moves."""
        return self.file, self.before, self.after

    def __str__(self) -> str:
        return f"{self.file}:{self.line}\n  - {self.before}\n  + {self.after}"


Place = tuple[Path, str, int, int]
"""A file, a kind of fault, which of the places for it there, and its line."""


def places(file: Path) -> Iterator[Place]:
    """Where a file could have a fault."""
    source = file.read_text()
    nodes, quiet = list(ast_nodes(get_ast(source))), _annotated(source)
    for kind in KINDS:
        operator = get_operator(f"core/{kind}")()
        found = [place for node in nodes for place in operator.mutation_positions(node)]
        for number, ((line, column), _) in enumerate(found):
            if not any(first <= (line, column) < last for first, last in quiet):
                yield file, kind, number, line


def fault(place: Place) -> Fault:
    """The fault of a place."""
    file, kind, number, line = place
    source = file.read_text()
    changed = str(mutate_code(source, get_operator(f"core/{kind}")(), number))
    old, new = source.splitlines(), changed.splitlines()
    start = next(i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1])
    rest = next((i for i, pair in enumerate(zip(old[::-1], new[::-1], strict=False)) if pair[0] != pair[1]), 0)
    before, after = (" ".join(x.strip() for x in lines[start : len(lines) - rest]) for lines in (old, new))
    return Fault(file.relative_to(ROOT).as_posix(), line, before, after, changed)


def _annotated(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations stand, which nothing evaluates."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.expr) and part.end_lineno is not None and part.end_col_offset is not None:
                found.append(((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)))
    return found


def is_seen(change: Fault, tree: Path, near: bool) -> bool:
    """Whether a test fails in this copy of the source, once the fault is in it; `near`: of the file's subject."""
    file = tree / change.file
    whole = file.read_text()
    file.write_text(change.source)
    try:
        subject = next(name for name in SUBJECTS if f"/{name}/" in f"/{change.file}")
        return any(_fails(tree, tests) for tests in (SUBJECTS[subject].split(), [])[: 1 if near else 2])
    finally:
        file.write_text(whole)


def _fails(tree: Path, tests: list[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [*command, *(f"tests/{name}.py" for name in tests)],
            cwd=tree,
            env=environment,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def chosen_files(names: list[str]) -> list[Path]:
    """The files of these folders and files, all that are mutated by default."""
    found: list[Path] = []
    for name in names or list(SUBJECTS):
        place = next((p for p in (ROOT / name, ROOT / "tinygrad_rnn" / name) if p.exists()), None)
        if place is None:
            raise SystemExit(f"mutate.py: {name} is no file or folder of {ROOT}")
        found += sorted(place.rglob("*.py")) if place.is_dir() else [place]
    return [file for file in found if file.name != "__init__.py"]


def main() -> int:
    """Draws, tries, and prints what nothing saw."""
    parser = argparse.ArgumentParser(prog="mutate.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "what", nargs="*", metavar="FILE", help=f"files or folders, of {', '.join(SUBJECTS)} by default"
    )
    parser.add_argument("--sample", type=int, default=40, help="how many faults are drawn (40); 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--near", action="store_true", help="only the tests of the file's subject, not the whole suite")
    parser.add_argument("--jobs", type=int, default=1, help="how many are tried beside each other")
    chosen = parser.parse_args()
    every = [place for file in chosen_files(chosen.what) for place in places(file)]
    drawn = [
        fault(place) for place in random.Random(chosen.seed).sample(every, min(chosen.sample, len(every)) or len(every))
    ]
    known = {(old["file"], old["before"], old["after"]) for old in tomllib.loads(KNOWN.read_text())["survivor"]}
    print(f"{len(drawn)} of {len(every)} faults", flush=True)
    trees: SimpleQueue[Path] = SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(chosen.jobs):
            copy = Path(folder) / str(number)
            shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", ".*_cache", ".hypothesis"))
            trees.put(copy)
        for tests in SUBJECTS.values():
            if _fails(copy, tests.split()):
                raise SystemExit(f"mutate.py: without any fault, {tests} fail")

        def survives(each: Fault) -> bool:
            tree = trees.get()
            try:
                return each.key not in known and not is_seen(each, tree, chosen.near)
            finally:
                trees.put(tree)

        new = 0
        with ThreadPoolExecutor(chosen.jobs) as pool:
            for each, left in zip(drawn, pool.map(survives, drawn), strict=True):
                new += left
                print(f"{'survives' if left else 'known   ' if each.key in known else 'seen    '} {each}", flush=True)
    print(f"{new} survive that are not in {KNOWN.name}")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())

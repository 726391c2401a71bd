"""Files of texts that have a label each, in whichever format they are."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.readers import shown_name
from tinygrad_rnn.data.records import read_csv_rows, read_jsonl, read_tsv


def read_labelled(
    path: str | os.PathLike[str], encoding: str = "utf-8", *, label: str = "label", text: str = "text"
) -> Iterator[tuple[str, str]]:
    """The labels and the texts in a file, by how its name ends: of .csv the columns of these names, of .jsonl the
    fields, and of any other label TAB text, each packed by gzip (.gz) or not. Of a label spaces at its ends are no
    part, and line ends within are spaces. See `read_tsv`, `read_csv_rows`, `read_jsonl`.

    Args:
        path, encoding: as in `read_tsv`.
        label, text: the names of the two columns or fields.

    Raises:
        TextError: as those do, and where both names are one.
    """
    if label == text:
        raise TextError(f"{shown_name(path)}: labels and texts stand in two columns, got {text!r} for both")
    ending = os.fspath(path).lower().removesuffix(".gz").rpartition(".")[2]
    found: Iterator[tuple[str, ...]] = read_tsv(path, 2, encoding)
    if ending == "csv":
        found = read_csv_rows(path, [label, text], encoding)
    elif ending == "jsonl":
        found = read_jsonl(path, [label, text], encoding, texts=True)
    for name, said in found:
        yield " ".join(name.split()), said

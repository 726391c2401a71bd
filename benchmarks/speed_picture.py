"""Draws the table of machine code in benchmarks/README.md, for the README: `python benchmarks/speed_picture.py`."""

from __future__ import annotations

from html import escape
from pathlib import Path

HERE = Path(__file__).parent
PICTURE = HERE / "speed.svg"
TABLE = "| ours as machine code /"
PEERS = {"PyTorch layers": "#2a78d6", "PyTorch cell loop": "#1baf7a", "JAX": "#eda100"}
"""The columns that are drawn, of one thread, with their colours."""

WIDTH, LEFT, RIGHT, TOP, BAR, GAP = 720, 190, 110, 46, 13, 12
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}.axis{stroke:#999}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.axis{stroke:#888}}"
)


def figures(text: str) -> dict[str, dict[str, float]]:
    """By work and peer our time divided by the peer's, where there is one, from the page's table."""
    lines = text[text.index(TABLE) :].split("\n\n", maxsplit=1)[0].splitlines()
    names, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    columns = {peer: names.index(peer) for peer in PEERS}  # the first of that name: one thread
    return {row[0]: {peer: float(row[at].split()[0]) for peer, at in columns.items() if row[at]} for row in rows}


def drawn(found: dict[str, dict[str, float]]) -> str:
    """Bars from 0, and a line where the peer's time is."""
    scale = (WIDTH - LEFT - RIGHT) / max(1.0, *(ratio for row in found.values() for ratio in row.values()))
    marks, y, x = [], TOP, LEFT
    for peer, colour in PEERS.items():
        marks.append(
            f'<rect x="{x}" y="8" width="12" height="12" fill="{colour}"/><text x="{x + 18}" y="19">{peer}</text>'
        )
        x += 150
    for work, row in found.items():
        middle = y + BAR * len(row) / 2 + 4
        marks.append(f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end">{escape(work)}</text>')
        for peer, ratio in row.items():
            width = ratio * scale
            marks.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{PEERS[peer]}"/>')
            marks.append(f'<text x="{LEFT + width + 5:.1f}" y="{y + 10}">{ratio:.2f}</text>')
            y += BAR
        y += GAP
    one = LEFT + scale
    axis = f'<line class="axis" x1="{one:.1f}" x2="{one:.1f}" y1="{TOP - 6}" y2="{y}" stroke-dasharray="3 3"/>'
    marks.append(f'<text x="{one:.1f}" y="{y + 16}" text-anchor="middle">as long as theirs</text>')
    size = f'width="{WIDTH}" height="{y + 26}" viewBox="0 0 {WIDTH} {y + 26}"'
    what = "Our time for a training step divided by that of PyTorch and JAX"
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{what}">'
    return f"{opening}<style>{STYLE}</style>{axis}{''.join(marks)}</svg>\n"


if __name__ == "__main__":
    PICTURE.write_text(drawn(figures((HERE / "README.md").read_text(encoding="utf-8"))), encoding="utf-8")

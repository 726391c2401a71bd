"""9.3 Another task's page"""

from contextlib import chdir
from pathlib import Path
from tempfile import mkdtemp

import tinygrad_rnn as tg
from tinygrad_rnn.cli import main as command

# %%
import re

with chdir(mkdtemp()):
    tg.tasks.train("memory", problem="anbn", epochs=1, hidden=8, out="counting")
    command(
        ["inspect", "counting/best.safetensors", "--html", "counting.html"],
        standalone_mode=False,
    )
    written = Path("counting.html").read_text(encoding="utf-8")
headings = re.findall("<h2>(.*?)</h2>", written)
print(*headings, sep="\n")
# Page(written) shows it.

# Its views are what the task says of itself: here the chances of what may come, at every symbol of
# words of as many a as b. After the last b but one a counter knows that one more will come, and
# then the end. A model that does not count is in doubt there.
assert any("anbn" in heading for heading in headings)

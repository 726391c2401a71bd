"""9.1 Change the beginning"""

import numpy as np
from small_model import READ, reading_of

# %%
changed = READ.replace("read_page", "load_item")
assert len(changed) == len(READ)
others = [i for i, (a, b) in enumerate(zip(READ, changed, strict=True)) if a != b]
after = slice(others[-1] + 1, None)  # the surprises at characters that are the same
one, other = reading_of(READ), reading_of(changed)
moved = np.abs(other.nats - one.nats)[after]
# Row t of depends has a column for START, and one for each character.
said = one.depends[after][:, [i + 1 for i in others]].sum(axis=1)
for c, a, b in zip([*READ, "end"][after], moved, said, strict=True):
    print(f"{c:3} moved by {a:.3f}, the gradient has {b:.3f}  {'#' * int(10 * a)}")

far = len(moved) // 2
print(
    f"the first half moves by {moved[:far].mean():.3f}, the second by {moved[far:].mean():.3f}"
)
first, second = (np.argsort(np.argsort(row)) for row in (moved, said))
alike = np.corrcoef(first, second)[0, 1]
print(f"their orders are alike by {alike:.2f}")

# It says where, and not how much: a gradient is about a small change of a vector, and another
# letter is a large one.
assert moved[:far].mean() > moved[far:].mean()
assert alike > 0.3

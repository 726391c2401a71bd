"""9.2 Take a unit out"""

import numpy as np
from chapters import taken
from small_model import held_back, model, readings, vocabulary

(brackets,) = taken("09", "brackets")

# %%
# What the units do does not change when one is not heard. So the outputs h need not be made anew:
# the scores lose h of the unit, times its row.
h = np.concatenate([each.units["0.forward.h"][:-1] for each in readings])
asked = np.concatenate(
    [[*vocabulary.encode(list(line)), vocabulary.end] for line in held_back]
)
tables = model.state_dict()
weight, bias = tables["output_weight"], tables["output_bias"]


def nats_without(unit: int | None) -> np.ndarray:
    """The surprise at all characters, with a unit's row set to 0."""
    heard = weight.copy()
    if unit is not None:
        heard[unit] = 0
    scores = (h @ heard + bias).astype(float)
    scores -= scores.max(axis=1, keepdims=True)
    right = scores[np.arange(len(asked)), asked]
    return np.asarray(np.log(np.exp(scores).sum(axis=1)) - right)


whole = nats_without(None)
assert np.allclose(whole, np.concatenate([each.nats for each in readings]), atol=1e-4)

rises = np.array([nats_without(unit) - whole for unit in range(len(weight))])
missed = rises.mean(axis=1)
within = np.array(
    [brackets(line[:i]) for line in held_back for i in range(len(line) + 1)], float
)
follows = int(np.abs([np.corrcoef(row, within)[0, 1] for row in h.T]).argmax())
place = int((missed > missed[follows]).sum()) + 1
print(f"a unit is missed by {missed.mean():.3f} nats, the most by {missed.max():.3f}")
print(
    f"unit {follows}, which follows the brackets best, by {missed[follows]:.3f}: place {place}"
)
characters = np.array([c for line in held_back for c in [*line, "end"]])
dear = {c: rises[follows][characters == c].mean() for c in set(characters)}
for c in sorted(dear, key=lambda c: -dear[c])[:5]:
    print(f"  {str(c)!r:5} costs {dear[c]:+.2f} nats more without it")

# To be missed on average says nothing of what for: that is said by the characters. And to follow
# something well is no proof of being needed, for others may follow it too: only taking it out is.
assert missed.mean() > 0 and missed.max() > 2 * missed.mean()

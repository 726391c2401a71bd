"""8.2 The bar, by hand"""

import numpy as np
from chapters import taken

numbers, vocabulary, size = taken("08", "numbers", "vocabulary", "size")
ngram_nats_by_order = taken("08", "ngram_nats_by_order")[0]

# %%
# All but START are foretold. A word that was seen c times among N, of t kinds, has the chance
# (c + t q) / (N + t), where q is the same for all that may come: Witten and Bell's unigram.
came, asked = (np.concatenate([each[1:] for each in part]) for part in numbers)
c = np.bincount(came, minlength=size)
t, q = np.count_nonzero(c), 1 / (size - 2)  # START and the padding never come
nats = -np.log((c[asked] + t * q) / (len(came) + t)).mean()
bar = ngram_nats_by_order(numbers[0], numbers[1], 1, vocabulary)[0]
print(f"by hand {nats:.6f}, by the library {bar:.6f}")
assert np.isclose(nats, bar, rtol=1e-12)

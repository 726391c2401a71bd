"""8.4 With and without dropout"""

import numpy as np
from chapters import taken

numbers, size = taken("08", "numbers", "size")
LanguageModel, RMSprop, bucketed = taken("08", "LanguageModel", "RMSprop", "bucketed")
evaluate, fit = taken("08", "evaluate", "fit")

# %%
few, EPOCHS = numbers[0][: len(numbers[0]) // 4], 12
ends = {}
for dropout in (0.0, 0.3, 0.6):
    learner = LanguageModel(size, 64, 64, dropout=dropout, rng=np.random.default_rng(0))
    for record in fit(
        learner,
        RMSprop(learner.parameters(), lr=0.01),
        lambda number: bucketed(few, 32, rng=np.random.default_rng(number)),
        clip_norm=5.0,
        rng=np.random.default_rng(1),
    ):
        if record.last_of_epoch and record.epoch + 1 == EPOCHS:
            break
    ends[dropout] = [
        evaluate(learner, bucketed(part, 64)).loss for part in (few, numbers[1])
    ]
    print(
        f"dropout {dropout}: {ends[dropout][0]:.2f} nats of what it learned, ", end=""
    )
    print(f"{ends[dropout][1]:.2f} of what it did not see")

# Without it the text is learned by heart: what is in it is foretold far better than what is not.
# More of it makes what is learned worse, and the distance smaller. Which is best for what was not
# seen depends on the epochs: the more there are, the more is learned by heart.
assert ends[0.0][0] < ends[0.3][0] < ends[0.6][0]
distances = [unseen - seen for seen, unseen in ends.values()]
assert distances == sorted(distances, reverse=True)

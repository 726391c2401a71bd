"""What is to be seen in a scene, from left to right?

    python examples/tasks/caption.py

A scene is a vector of 26 numbers: what each of two things is, and where. Printed is
how many captions of scenes are right that were not trained on; and for three scenes
the right caption, what the model says, and what a linear method says, which knows
each word by its place and cannot compare where the things are.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.baselines import LinearWords
from tinygrad_rnn.data.scenes import scene

found = tg.tasks.train("caption", epochs=7, patience=0, lr=4e-3)
print(f"{found.result.metrics['exact']:.1%} of the captions of other scenes are right")

rng = np.random.default_rng(1)
vectors, captions = zip(*(scene(rng) for _ in range(2000)), strict=True)
linear = LinearWords().fit(vectors[200:], captions[200:]).predict(vectors[:200])
hard = [i for i in range(200) if linear[i] != captions[i]][:3]
for i, said in zip(hard, found.predict([vectors[i] for i in hard]), strict=True):
    print(f"\nright   {captions[i]}\nsaid    {said}\nlinear  {linear[i]}")

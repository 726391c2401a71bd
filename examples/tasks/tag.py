"""What role does each name play in a line of Python?

    python examples/tasks/tag.py

A tagger reads lines of the standard library's code in both directions, word by word
and letter by letter, and then a line that it has never seen: each token is printed
with the role that it was given. The same word, `open`, is a function that is
called, a method, and a parameter; only the words around it tell.
"""

import tinygrad_rnn as tg

LINES = ["open = open ( open )", "return file . open ( name , open = open . open )", "def open ( self , open = 0 ) :"]

found = tg.tasks.train("tag", epochs=1, hidden=48, batch_size=8)
print(f"{found.result.metrics['names']:.1%} of the names in lines that it was not trained on")
for line, roles in zip(LINES, found.predict(LINES), strict=True):
    print()
    for token, role in zip(line.split(), roles, strict=True):
        print(f"  {token:8} {role.lower() if token[0].isalpha() else ''}")

"""1.2 How many lines?"""

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter

# %%
v = Parameter(0.5, name="v")
as_it_stands = 1 + v + v**2 + v**3 + v**4
as_horner = 1 + v * (1 + v * (1 + v * (1 + v)))

lines = {}
for name, y in {"as it stands": as_it_stands, "Horner's": as_horner}.items():
    print(f"{name}:\n{(tape := tg.Tape(y))}")
    lines[name] = int(str(tape).splitlines()[-1].split()[0]) - 1  # the first is v
assert as_it_stands.item() == as_horner.item()

# Both have seven: four sums, and three powers or three products. So both walks are as long, but
# the rule of a power makes another power, and that of a product only products.
assert lines == {"as it stands": 7, "Horner's": 7}

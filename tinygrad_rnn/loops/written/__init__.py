"""A recorded step as equations that a person reads: plain text, LaTeX, MathML, NumPy."""

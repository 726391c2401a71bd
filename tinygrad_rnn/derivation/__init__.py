"""derive: the equations of a cell's step, those of its backward step, and a program in NumPy that has both."""

"""Ranks: processes that train one model together, by MPI, and the sums of their gradients."""

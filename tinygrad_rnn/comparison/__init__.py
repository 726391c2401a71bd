"""Cells side by side: the same task, data, splits and seeds, and which differences are larger than the noise."""

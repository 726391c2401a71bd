"""Inspection: a tape printed, a trace, plots, the page. They draw what they are given and know no model."""

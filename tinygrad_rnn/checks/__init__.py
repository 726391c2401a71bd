"""Checks: of derivatives, of cells, of numbers that went wrong."""

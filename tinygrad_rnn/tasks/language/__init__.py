"""The language model: its options, its text, and what it is used for."""

"""Tasks: what recurrent networks are shown for."""

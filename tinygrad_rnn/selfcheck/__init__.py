"""A minute's check of everything on a user's own machine, and what this machine is: to be pasted into a report."""

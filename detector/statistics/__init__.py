"""Intervals, the bootstrap and figures of merit: NumPy and SciPy alone."""

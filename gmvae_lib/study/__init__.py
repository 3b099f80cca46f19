"""What only the book and its tables need: sweeps, baselines, figures, claims."""

"""From cluster posteriors and a few labels to names: decoders, what to label, how many labels."""

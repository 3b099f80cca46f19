"""Pictures in: readers, image sets, labels, files."""

"""What the labels are worth, and the pages to label on and to read."""

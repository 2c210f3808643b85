"""Tasks with images."""

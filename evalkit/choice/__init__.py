"""Multiple choice: asking, and reading an option out of a reply."""

"""Multiple choice: asking for an option, and reading an option out of a reply."""

"""The layers around one call of a model, a file each; ``stack.py`` has their order."""

"""The layers around one call of a model, one file each; ``stack.py`` puts them in their order."""

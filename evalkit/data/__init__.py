"""Where data come from: the hub, places in files, sentences."""

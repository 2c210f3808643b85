"""Reading what a model wrote: text as models type it, numbers, negations, reasoning. One reader for each."""

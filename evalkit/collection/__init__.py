"""Collection: from the targets of a command line to items, by task files, fixtures, parameters, filters."""

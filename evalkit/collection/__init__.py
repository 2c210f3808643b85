"""From the targets of a command line to items: task files, fixtures, parameters, filters."""

"""Reading data: rows from the hub and from files, with their locations, and sentences of texts."""

"""Which waiting request goes to which endpoint next."""

"""A simulated model server in virtual time, work for it, and the schedules that are compared on it."""

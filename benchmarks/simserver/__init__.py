"""A simulated model server in virtual time, workloads for it, and the schedules to compare."""

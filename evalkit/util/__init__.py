"""Small helpers that know nothing of evaluation."""

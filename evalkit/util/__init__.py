"""Small helpers that are independent of evaluation."""

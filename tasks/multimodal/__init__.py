"""Tasks that show pictures."""

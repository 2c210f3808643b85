"""One run: survey, engine, scoring, estimates, provenance."""

"""The version of evalkit, of the package and of what it writes."""

VERSION = "0.1.0"

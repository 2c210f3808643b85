"""The version of evalkit: of the package and of the files that it writes."""

VERSION = "0.1.0"

"""Indexes of a corpus and their search: dense (FAISS), lexical (BM25), hybrid (both)."""

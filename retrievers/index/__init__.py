"""Indexes over a corpus and how they are searched: dense (FAISS), lexical (BM25), both together."""

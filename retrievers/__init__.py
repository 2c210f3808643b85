"""Corpora, embeddings and the retrievers over them: FAISS, BM25, hybrid. Found through entry points."""

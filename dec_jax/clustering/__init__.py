"""Clusters embeddings: k-means, mixtures, the neighbor graph, q and p."""

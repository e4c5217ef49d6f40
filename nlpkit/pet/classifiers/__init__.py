"""Classifiers with one interface: by label words, by sentinels, by a head, by demonstrations."""

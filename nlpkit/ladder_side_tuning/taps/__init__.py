"""Taps kept on disk: keys of rows, shards of states, the cache that is read and the pass that fills it."""

"""Functions with steps, made smooth: the largest, the k largest, and what scores count."""

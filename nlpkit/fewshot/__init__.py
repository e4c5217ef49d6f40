"""Few-shot evaluation that can be trusted: tasks, splits, leak checks, runs over splits and seeds, tables, tests."""

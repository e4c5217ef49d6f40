"""The loss of the task: the one that is given, or that of the model's own head."""

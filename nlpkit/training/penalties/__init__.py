"""Terms beside the task's loss, and changes to the loss itself."""

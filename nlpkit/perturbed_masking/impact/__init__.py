"""From a sentence to its impact matrices, in few passes."""

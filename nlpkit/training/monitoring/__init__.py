"""What is scheduled, logged and kept while a model trains."""

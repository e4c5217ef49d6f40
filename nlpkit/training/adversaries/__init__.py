"""Training against moves at the embeddings, or at another module, that raise the loss most."""

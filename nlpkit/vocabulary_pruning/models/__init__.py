"""Models with other rows: in memory, and in safetensors file by file."""

"""What is kept on disk: prepared images, and codes."""

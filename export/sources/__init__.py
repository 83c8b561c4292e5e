"""Sources of checkpoints: files, folders and the Hugging Face Hub."""

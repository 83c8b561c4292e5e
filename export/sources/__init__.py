"""Where a checkpoint comes from: files, folders, the Hugging Face Hub."""

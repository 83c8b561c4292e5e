"""From a checkpoint's tokenizer files to one tokenizer.json."""

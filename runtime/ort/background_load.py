"""BackgroundLoad: create the session in a thread while the caller imports other modules."""

from time import perf_counter

from gpt2edge._beside import BackgroundCall
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.ort.session import Session
from gpt2edge.runtime.text.tokenizer import Tokenizer


class BackgroundLoad:
    """Starts to create the session over ``model`` in a thread; ``Engine`` takes the result.

    onnxruntime needs no Python for it, so that a command can import the engine in the meantime.
    ``verified`` True means that the caller compares the files' checksums.
    """

    def __init__(self, model: ModelDir, options: RuntimeOptions, *, verified: bool = False) -> None:
        self.started = perf_counter()
        self.model = model
        self.options = options
        self.verifies = options.verify and not verified
        self._session = BackgroundCall(lambda: Session(model, options))

    def tokenizer(self) -> Tokenizer | None:
        """Return the tokenizer, or None where the model has none. Raises ModelDirError."""
        path, options = self.model.tokenizer_path, self.options
        if path is None:
            return None
        return Tokenizer(
            path,
            add_special_tokens=options.add_special_tokens,
            bos_token_id=self.model.config.bos_token_id,
        )

    def session(self) -> Session:
        """Wait for the session and return it.

        Raises ModelDirError or ProviderError where onnxruntime cannot create it.
        """
        return self._session.result()

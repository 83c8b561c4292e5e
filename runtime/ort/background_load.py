"""Opening: a model folder on its way into memory, while its caller loads what else is needed."""

from time import perf_counter

from gpt2edge._beside import BackgroundCall
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.ort.session import Session
from gpt2edge.runtime.text.tokenizer import Tokenizer


class BackgroundLoad:
    """The session over ``model`` is made in a thread from now on; ``Engine`` takes it over.

    onnxruntime needs Python for none of that. A command begins with this, and imports the engine
    meanwhile. ``verified`` says that the caller compares the files' checksums.
    """

    def __init__(self, model: ModelDir, options: RuntimeOptions, *, verified: bool = False) -> None:
        self.started = perf_counter()
        self.model = model
        self.options = options
        self.verifies = options.verify and not verified
        self._session = BackgroundCall(lambda: Session(model, options))

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer as the options say, None where there is no file. Raises ModelDirError."""
        path, options = self.model.tokenizer_path, self.options
        if path is None:
            return None
        return Tokenizer(
            path,
            add_special_tokens=options.add_special_tokens,
            bos_token_id=self.model.config.bos_token_id,
        )

    def session(self) -> Session:
        """Wait for it. Raises ModelDirError or ProviderError where onnxruntime cannot make it."""
        return self._session.result()

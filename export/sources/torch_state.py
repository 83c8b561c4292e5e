"""The weights in a file of ``torch.save``: a dict of tensors, alone or beside other things."""

from collections.abc import Mapping
from typing import Any, Final

from gpt2edge.errors import ExportError
from gpt2edge.export.sources.pickled import Foreign
from gpt2edge.export.sources.tensors import StoredTensor
from gpt2edge.export.sources.torch_files import SavedTensor, TorchFile, tensors_of

_WRAPPERS: Final = ("model", "state_dict", "model_state_dict", "module")
"""Keys under which training programs save the weights."""
_SAVE: Final = "the weights with torch.save(model.state_dict(), 'pytorch_model.bin')"
_LONGEST_NAME: Final = 256


def state_tensors(file: TorchFile) -> dict[str, StoredTensor]:
    """Return the model's tensors by their names in the file.

    Raises ExportError that says what the file holds instead.
    """
    state = _state(file.value)
    if state is None:
        raise ExportError(f"{file.path} {_what_it_is(file.value)}")
    for name in state:
        if type(name) is str and len(name) > _LONGEST_NAME:
            raise ExportError(f"{file.path} has a name of {len(name)} characters: no tensor's")
    return tensors_of(file, state)


def _state(value: Any) -> Mapping[Any, Any] | None:
    """Return the mapping with the weights: the object, or what one of its keys holds."""
    if type(value) is not dict:
        return None
    candidates = [value, *(value.get(key) for key in _WRAPPERS)]
    return next((found for found in candidates if _holds_weights(found)), None)


def _holds_weights(value: Any) -> bool:
    return type(value) is dict and any(
        type(name) is str and name.endswith(".weight") and type(tensor) is SavedTensor
        for name, tensor in value.items()
    )


def _what_it_is(value: Any) -> str:
    """Return the rest of a sentence about a file without weights, with what to do."""
    wrapped = [value.get(key) for key in _WRAPPERS] if type(value) is dict else []
    for found in (value, *wrapped):
        if type(found) is Foreign:
            return f"holds an object of {str(found.name)[:100]}, not its weights: save {_SAVE}"
    if type(value) is not dict:
        return f"holds a {type(value).__name__}, no weights: save {_SAVE}"
    if "param_groups" in value:
        return "holds the state of an optimizer, no weights: give the file with the model"
    if "checkpoint_version" in value or "args" in value:
        return (
            "looks like a checkpoint of Megatron, whose layouts differ between versions: convert "
            "it with transformers' convert_megatron_gpt2_checkpoint.py, then export the result"
        )
    return f"holds no tensors of a model: save {_SAVE}"

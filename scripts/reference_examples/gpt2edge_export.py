import gpt2edge
from gpt2edge.export import export_checkpoint

try:
    model = export_checkpoint("training/models/storyteller", "models/tales")
    print(model.path, model.nbytes, model.manifest.variant)
    export_checkpoint("training/models/storyteller", "models/tales")
except gpt2edge.errors.ModelDirError as error:  # the second time: pass overwrite=True
    print(error)

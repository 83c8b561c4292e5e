import gpt2edge
from gpt2edge.quant import INT4, Calibration, compare, quantize

model = gpt2edge.ModelDir.open("models/tales")
first = gpt2edge.load(model.path)
text = first.generate("Once upon a time", max_new_tokens=60, temperature=1.0, seed=1).token_ids
small = quantize(model, "models/small", recipe=INT4, calibration=Calibration(token_ids=text))
found = compare(first, gpt2edge.load(small.path), text, context=32)
print(small.nbytes / model.nbytes, found.perplexity_increase, found.kl)

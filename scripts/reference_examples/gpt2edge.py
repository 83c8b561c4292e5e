import gpt2edge

with gpt2edge.load() as engine:
    done = engine.generate("Once upon a time", max_new_tokens=16)
    print(done.text, done.finish_reason)
    for chunk in engine.stream("The wolf", max_new_tokens=16):
        print(chunk.text, end="")
    try:
        engine.generate("The wolf", max_new_tokens=1_000_000)
    except gpt2edge.errors.ContextLengthError as error:
        print(error)

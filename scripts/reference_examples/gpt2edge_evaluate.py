from gpt2edge.evaluate import BenchmarkTest, Questions, benchmark, evaluate, markdown_table

models = ["models/tales", "models/small"]
found = evaluate(models, Questions(text="The king lived in a castle by the sea.", context=8))
print(markdown_table(found))
(tales, small) = benchmark(models, [BenchmarkTest.of("pp32"), BenchmarkTest.of("tg8@d16")])
print([figures.p50_ts for figures in tales.tests], [figures.p50_ts for figures in small.tests])

import gpt2edge
from gpt2edge.runtime.search import BestOfN, MajorityVote


def shortest(_prompt: str, completion: str) -> float:
    return -len(completion)


engine = gpt2edge.load()
result = BestOfN(n=4, verifier=shortest).run(engine, "The king", max_new_tokens=8)
print(result.best.text, [candidate.score for candidate in result.candidates])
vote = MajorityVote(n=4).run(engine, "Two and two are", max_new_tokens=8)
print(vote.best.answer, vote.cost.generated_tokens)

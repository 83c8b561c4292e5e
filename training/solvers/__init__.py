"""The solvers and their verifiers: stepmath and Game of 24."""

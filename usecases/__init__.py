"""What a user writes: one module per use case, loaded by name."""

from usecases.usecase import Absence, Costs, Outcome, UseCase, UseCaseError, load, names

__all__ = ["Absence", "Costs", "Outcome", "UseCase", "UseCaseError", "load", "names"]

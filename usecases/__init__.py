"""What a user writes: one module per use case, loaded by name."""

from usecases.usecase import Absence, Costs, Floors, Outcome, Slice, UseCase, UseCaseError, load, names

__all__ = ["Absence", "Costs", "Floors", "Outcome", "Slice", "UseCase", "UseCaseError", "load", "names"]

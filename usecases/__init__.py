"""What a user writes: one module per use case, loaded by name."""

from usecases._error import UseCaseError
from usecases._watch import Retrain, Track, Watch
from usecases.usecase import Absence, Costs, Floors, Outcome, Slice, UseCase, load, names

__all__ = [
    "Absence",
    "Costs",
    "Floors",
    "Outcome",
    "Retrain",
    "Slice",
    "Track",
    "UseCase",
    "UseCaseError",
    "Watch",
    "load",
    "names",
]

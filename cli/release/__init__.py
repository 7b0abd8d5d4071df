"""`holdfast release`: from a promoted model to what installs it."""

from cli.release.command import release

__all__ = ["release"]

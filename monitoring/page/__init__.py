"""The monitor's web page: what is watched, what alarms, and what has moved, read from the ledger on every request.

watched   what the page is about: a use case, its ledger, the profiles of its models
words     findings as sentences, figures as people read them
charts    the geometry of its drawings: histograms then and now, curves over windows
strip     windows over time, and the verdicts on them
columns   which columns moved, by how much, and how much the model makes of them
model     a model version: all of it; window: one window, every column; overview: every model, and what to do next
verdicts  the same for programs; trouble: what is answered where there is nothing to show
rendering templates, the style, and the headers that go with every answer

No script and nothing from elsewhere: a page is HTML with drawings in it, and one style sheet.
"""

from monitoring.page.rendering import HEADERS, ICON, STYLE
from monitoring.page.watched import Watched

__all__ = ["HEADERS", "ICON", "STYLE", "Watched"]

"""Monitoring: whether what is served is still what the model was trained for; alarms within a stated budget.

profile = Profile.from_frame(reference, schema)
window = Window.from_frame(profile, frame) + Window.from_records(profile, records)
verdict = judge(profile, windows, budget=1e-3)
"""

from model.profile import Profile, ProfileError
from monitoring.verdict import Finding, Verdict, judge
from monitoring.window import Window

__all__ = ["Finding", "Profile", "ProfileError", "Verdict", "Window", "judge"]

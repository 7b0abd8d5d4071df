"""The reference of monitoring: how inputs and answers were spread when the model was trained. Integer counts only.

column    what the cells of a column are: quantile bins or levels, and what is out of range, unseen or missing
schema    which columns a frame has, and what each is: given, or told from names and dtypes
counting  the counts of a frame: one vector of integers, so that any split of the rows gives the same sum
tree      which pairs of columns are counted together
season    how much more the days of a reference differ than chance would have them
profile   all of it, as an artefact stores it; former reads what releases before this one stored
"""

from model.profile.column import Column
from model.profile.profile import Profile
from model.profile.schema import Kind, ProfileError, Schema

__all__ = ["Column", "Kind", "Profile", "ProfileError", "Schema"]

"""Models on their way between machines: one archive each, in a directory or in object storage, with its digest.

URL/NAME/VERSION.tar          the artefact, the same bytes whoever packs it
URL/NAME/VERSION.tar.sha256   its digest as `sha256sum --check` reads it, written last: where it is, all is there
"""

from model.archive.form import ArchiveError, Away, NotArchived, members, sound
from model.archive.moving import Pulled, Pushed, Reference, pull, push

__all__ = ["ArchiveError", "Away", "NotArchived", "Pulled", "Pushed", "Reference", "members", "pull", "push", "sound"]

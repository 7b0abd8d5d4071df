"""From a team's files to the event store: read as text, validate, quarantine, commit."""

"""What the project promises, measured: every bar as a table (`prove`), and ratios to a baseline of the same minute."""

import settings

settings.pin_environment()

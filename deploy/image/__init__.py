"""The container images: what `make image` builds, and with which engine."""

"""Training: label times, point-in-time training set, leakage guards, fit, calibration, evaluation, artefact."""

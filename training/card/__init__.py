"""The card: what a model is, for people, as card.md and card.html. Written by training.card.page, at training."""

TITLES = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC", "log_loss": "log loss", "brier": "Brier score", "ece": "ECE"}

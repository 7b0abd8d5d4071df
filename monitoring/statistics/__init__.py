"""What verdicts are made of.

inputs   tests of how inputs and answers are spread, and of what is missing, unseen or out of range
concept  tests of outcomes given the score
tails    the tail probabilities behind both
"""

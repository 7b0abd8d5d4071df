"""Passes over the prediction log: each answer counted once, windows closed and judged.

passing     one pass, committed chunk by chunk
stream      the windows of one model
reference   what windows are held against: training, or what was served
duplicates  answers that are in the log twice
asking      when a new model is asked for
recent      facts of this hour and the one before
"""

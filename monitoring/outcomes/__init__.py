"""What became true of predictions: counted once they are mature, and told as performance.

maturing     outcomes enter the windows when their predictions are mature
marks        which predictions were counted
tally        counts of scores and outcomes that add up
performance  metrics with intervals from a tally, realised and expected
standing     what is kept of them per model
"""

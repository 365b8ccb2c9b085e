"""`tally doctor`: what is wrong with a node or a network, seen from outside.

report    what a node says of itself, and what was found: values
visit     asks nodes, over HTTP, and looks at the files of one that does not answer
compare   the pure function from all visits to findings about the network
"""

"""Why does this node, or its network, stand still? Facts in, findings out.

facts     the snapshot of a running node
rules     the pure function from facts to findings
words     every finding in zh and en, with what to do
machine   what the operating system says: disk, certificates
offline   what keeps a node that does not run from starting
"""

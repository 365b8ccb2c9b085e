"""Faults on a network of real processes, with a client that remembers what it was told.

world       the network: nodes behind lines that can be made bad, a load, a seed
launcher    a node whose wall clock can be stepped
load        the client: submits at a steady rate, retries, remembers every acknowledgement
checker     what must hold after every fault
faults_*    the faults, one function each
run         a sequence of faults with figures; `python -m tests.e2e.chaos.run`
"""

"""Faults in real processes, each ending with the oracle's question: was anything lost or doubled?

world.py       one test's queue, instances, users and workers
simulator.py   the simulator's control calls: inject, look, move
worker_process.py   a worker as an operator runs it: a process, signals, a log, exit codes
proxy.py       a TCP proxy between worker and API that loses, delays and refuses
oracle.py      the question
"""

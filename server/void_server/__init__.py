"""The server next to the GPUs: router, keys, frame store, journal, scheduler, supervised workers.

Promises: a killed server loses nothing that it acknowledged; its process never holds pixels. Must not:
import void_engine, numpy or torch anywhere but in ``worker``, which runs as a process of its own.
"""

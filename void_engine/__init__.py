"""Pixels and models: from plates and quadmasks to clean plates.

Promises: deterministic for the same input, resumable, cancellable at every step, memory
that does not grow with the clip. Must not: know sockets, the server, the command line or nuke.
"""

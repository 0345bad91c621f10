"""What both ends of the wire agree on, and the client's end of it.

Promises: importable on Python 3.9 with pyzmq, msgpack and ruamel.yaml alone; nothing
happens on import. Must not: import nuke, numpy, the server or the engine.
"""

__version__ = "0.1.0"

"""The command line ``void``. Everybody's customer, nobody's supplier: nothing imports it.

Promises: ``submit``, ``status``, ``cancel`` and ``fetch`` work on the base install and Python 3.9; the server
and the engine are imported by the commands that need them. The only room that prints.
"""

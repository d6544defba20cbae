"""The way to the model service.

``client``      a pool of connections to one host; where foreign exceptions become Problems
``connection``  one connection, an exchange at a time: timeouts, back-pressure, an end at any moment
``deadline``    the one timer of a connection
``answer``      an answer read from bytes, no I/O
``target``      a base URL taken apart
``faults``      what an upstream can do wrong, as Problems
``sse``         server-sent events on bytes, pure
"""

"""The way to the model service.

``client``      a pool of connections to one host; where foreign exceptions become Problems
``connecting``  how a connection comes about: addresses, a proxy, TLS
``proxies``     the way through a proxy; imported only where there is one
``authorities`` whose certificates are believed
``connection``  one connection, an exchange at a time: timeouts, back-pressure, an end at any moment
``deadline``    the one timer of a connection
``answer``      an answer read from bytes, no I/O
``target``      a base URL taken apart
``faults``      what an upstream can do wrong, as Problems
``sse``         server-sent events on bytes, pure
"""

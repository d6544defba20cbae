"""The model services, and the way to them. Who is asked, and when again, is decided in ``gateway``.

``fleet``       all upstreams, and which of them a call may go to
``upstream``    one of them: what follows, put together
``keys``        its keys, which take turns, rest or are set aside, pure
``breaker``     whether it is taken to be down, pure
``dialect``     its paths and the header of its key, pure
``retries``     how often and how soon a call may be sent again, pure
``response``    the answer to one request, as far as it has come
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

"""An HTTP/1.1 server for Tornado applications, on llhttp (httptools) and asyncio transports.

It takes the place of ``tornado.httpserver.HTTPServer``, is several times cheaper a call, and stricter. It runs
on any asyncio loop, uvloop included, and knows nothing of the application behind it; to use it elsewhere, copy
this folder and change its own name in its imports. It needs ``tornado`` and ``httptools``.

    application = tornado.web.Application([...])
    server = Server(TornadoApplication(application, max_body_size=10_000_000), logger)
    port = server.listen("127.0.0.1", 8000)        # within a running loop
    ...
    await server.drain(30)                         # no idle connections any more; what is under way ends
    await server.close()

Handlers see no difference: streamed bodies, flushes, WebSockets (not under TLS), ``on_connection_close``. What
has to be fast can be answered below Tornado: an ``exchange.Application`` gets each request's head and an
``Exchange`` to answer by, and may hand on to ``TornadoApplication`` whatever it does not answer itself.

    bytes -> Connection -> RequestParser -> Head -> Application.begin(Exchange) -> Receiver (the body, the end)
    Exchange.answer | start, write, finish -> Output -> Batch (one write a turn of the loop) -> bytes

listener    accepts, also at the end of file descriptors
server      which connections are open; drain and close
connection  the order of requests and answers on one connection, and their time
parser      bytes to heads and bodies, without I/O; chunks: bodies that are chunked; head: what comes of it;
            known: heads that came before, and need not be read again
exchange    what an application implements and is given; framing: the frames of chunks
output      what goes out to a client, and whether it is taken; batch: steps that many take in one turn of the loop
bridge      Tornado's side: HTTPServerConnectionDelegate, HTTPMessageDelegate, HTTPConnection
deadline    the one timer of a connection
liveness    peers that vanished without a word
"""

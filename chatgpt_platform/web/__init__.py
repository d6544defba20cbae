"""The gateway as one Tornado application.

app       the route table and the handlers
base      what all handlers do: bytes in, Call out; Reply in, bytes out
service   what they share: the gateway of the moment, the access log
server    the listening side: idle and busy connections, drain
listener  accept, also at the end of file descriptors
forms     multipart bodies
cors      pages that may call from a browser
"""

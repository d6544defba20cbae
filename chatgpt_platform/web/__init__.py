"""The gateway as a web server.

reception    what every request goes through, whichever server brings it: route, caller, refusals, answer, head
transaction  one request from its head to its access line
pulse        when a stream has been silent for so long that it needs a heartbeat
course       a coroutine without a task, for answers that have to be waited for
shortcut     from the wire straight into a transaction
app          the same endpoints as a Tornado application, the route table
base         its handlers
service      what outlives a request: the gateway of the moment, the limiter, the access log
server       the listening side: wire, TLS, drain
snapshot     how upstreams are, in the words of the metrics
scraping     what /metrics takes besides the tallies
forms        multipart bodies
cors         pages that may call from a browser
"""

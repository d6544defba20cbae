"""The use case: a Call goes in, a Reply comes out. Knows neither web server nor sockets.

gateway       screen, admit, answer; every failure is a Reply
endpoints     what is served
call          Call, Reply, Stream
load          a place for each call under way, a short queue, or 503
routing       who may answer a call, and whose key pays
attempts      which upstream it is sent to, and whether and where again
catalogue     the list of models, of all upstreams together
openai_api    bodies pass through
platform_api  prompt in, text out
members       the few members of a body that are read and changed
tokens        caps on the length of answers
parameters    the platform API's parameters, wherever they come from
conversation  to and from chat messages
forward       what goes to an upstream and comes back beside the body
source        an upstream's stream: whole events, and its tail
streams       what the caller gets of it, ended honestly
failures      what failing answers mean
usage         tokens used; whether a stream came to its end
transcript    what was said, for owners who log it
render        the one place where a Problem becomes an answer
"""

"""The use case: a Call goes in, a Reply comes out. Knows neither web server nor sockets.

gateway       screen, admit, answer; every failure is a Reply
endpoints     what is served
call          Call, Reply, Stream
openai_api    bodies pass through
platform_api  prompt in, text out
members       the few members of a body that are read and changed
tokens        caps on the length of answers
parameters    the platform API's parameters, wherever they come from
conversation  to and from chat messages
forward       the call to the upstream
source        an upstream's stream: whole events, and its tail
streams       what the caller gets of it, ended honestly
failures      what failing answers mean
usage         tokens used; whether a stream came to its end
transcript    what was said, for owners who log it
render        the one place where a Problem becomes an answer
"""

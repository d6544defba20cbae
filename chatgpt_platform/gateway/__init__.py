"""The use case: a Call goes in, a Reply comes out. Knows neither web server nor sockets.

gateway     screen, admit, answer; every failure is a Reply
endpoints   what is served          call         Call, Reply, Stream
openai_api  bodies pass through     members      the few members that are read and changed; tokens: caps
platform_api  prompt in, text out   parameters   where parameters come from; conversation: to and from chat
forward     the call to the upstream             streams    streamed answers, held, passed on, ended honestly
failures    what failing answers mean            usage      tokens used, whole or cut
render      the one place where a Problem becomes an answer
"""

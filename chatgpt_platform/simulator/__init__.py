"""A stand-in for OpenAI's service: the same shapes, chosen delays, chosen faults, no key and no network.

``server.Simulator`` is the whole of it for other packages. Inside, a call goes one way:

    server      owns the behaviour, the counts and the last requests
    listening   the port, and the faults of ports and connections
    handlers    Tornado: bytes in, ``Request`` out; ``Answer`` in, bytes out, with delays and breaks
    service     pure: Request and Behaviour to Answer; paths, key, model
    chat, responses, embeddings, moderations, models      one file for each shape of answer
    faults      the one table of what can be made to go wrong
    effects     how: each fault is a pure function from the sound Answer to the one that is sent
    framing, streams      more of these: below the events, and as other services' streams are
    behaviour, refusals, request, answer, conversation, text      what the others are made of
"""

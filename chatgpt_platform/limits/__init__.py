"""How many calls a client may make: the rules of Limits, without the network.

``bucket`` is the arithmetic of token buckets, pure; ``store`` remembers the buckets of many clients in
bounded memory and says what the answer's headers say. Both are told the time, neither asks for it. ``saved`` is
the text in which a client's buckets outlive the process, pure, and ``kept`` knows which are to be written down.
"""

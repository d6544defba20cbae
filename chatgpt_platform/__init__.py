"""ChatGPT API Platform: a gateway that lets a group share an OpenAI-compatible model service safely.

The nouns, and who calls whom:

    Call       one request, as the gateway sees it: endpoint, caller, headers, body     gateway/call
    Account    a virtual key's holder: what it may use, has used, has under way         accounts
    Admission  may it go on: address, key, a token from each bucket, room in budgets    access, limits
    Load       is there a place for it, or in the queue                                 gateway/load
    Upstream   one model service: the client that reaches it, its keys, its breaker     upstream
    Fleet      all upstreams, and which of them a model belongs to                      upstream/fleet
    Attempts   sends a call to one of them, and again where that is safe                gateway/attempts
    Reply      the answer: a head, and a whole body or a stream                         gateway/call
    Record     what the access log tells of the call                                    observe
    Ledger     the account of all calls on the disk, and what outlives a restart        ledger
    Row        what the ledger keeps of a call                                          accounts/booking

    cli -> web -> wire (listens: HTTP, TLS), and for each request
    wire (bytes in) -> web (Call out) -> gateway (admit, attempt, account) -> one upstream or another
                                           |   \\-> Reply -> web -> wire (bytes out)
                                           \\-> accounts (reserve, settle; a Row) -> ledger

``simulator`` is a stand-in upstream, a server of its own. Imports run downwards only:
cli -> simulator | web -> gateway -> accounts -> access | upstream | limits | observe | locales | ledger
-> settings -> errors.
``wire`` imports none of them; web and upstream import it, and it calls back the ``Application`` that web gives it.
"""

from typing import Final

__version__: Final = "0.1.0"

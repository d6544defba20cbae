"""Who is calling, whether it may, and whose key pays.

``address`` finds a caller's true address behind trusted proxies and holds the allow and deny lists; ``keys``
decides between the caller's key and the configured one.
"""

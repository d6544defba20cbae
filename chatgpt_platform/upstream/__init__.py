"""The way to the model service: ``client`` (a pool for one host), ``connection`` (bytes), ``sse`` (events)."""

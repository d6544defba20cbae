"""What the gateway tells its operator: two logs, metrics, and what keeps secrets out of them.

``logs.Logs`` is the front: ``access`` takes one ``access.Record`` for each call, ``logger`` takes what
happened, for people; ``flush`` writes both, and is called by their owner a few times a second.
Below it, a line goes into a ``buffer``, and from there to a ``logfile`` (rotating, outliving a full disk) or the
``console``. ``handler`` makes the lines for people, ``redact`` takes out keys and control characters,
``timestamps`` writes times.

``metrics.Metrics`` counts: few steps a call, and none where nobody reads it. ``exposition`` tells Prometheus; it
alone imports ``prometheus_client``.

No failure to log ever reaches a call: it costs lines, which are counted.
"""

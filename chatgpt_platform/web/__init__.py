"""The gateway as one Tornado application: routes and thin handlers (``app``, ``base``), what they share
(``service``), the listening side (``server``)."""

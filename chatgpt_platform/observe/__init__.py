"""What is seen from outside: ``logs`` (set up, app.log), ``access`` (the access line), ``logfile`` (rotation),
``redact`` (no key, no control character gets out)."""

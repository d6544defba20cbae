"""The settings: declared once, read from a file, the environment and flags, handed down as frozen values.

    schema        every setting with its type, default and help (begin here); ``upstreams`` and ``sharing`` are
                  parts of it
    declaration   how ``schema`` declares one, and the tree that the rest walks
    kinds         types of values; ``measures``, ``containers``, ``addresses``, ``outbound``, ``secret``,
                  ``allowances`` and ``dates`` hold more of them
    nodes         YAML and JSON as trees with line numbers, before they mean anything; ``yaml_nodes`` reads YAML
    walk          such a tree against the schema: values and problems
    environment   the variables against the schema
    layers        what each source says, and all of them as one
    contradictions  what is possible each by itself, but not together
    load          which file, what wins, all problems at once; the one door: ``load(...)``
    virtual_keys  one key from elsewhere than the file: from a store, from a command line
    tls           the certificate of ``server.tls``, from its files
    hidden        what no log may show
    text          text from outside, made safe to print
    render        the example file, the reference page, the JSON Schema, the listing of ``check``

``load.load``, ``virtual_keys`` and ``tls`` raise ``errors.ConfigurationError``; no other exception leaves this
package, but for the ``LookupError`` of ``dates.zone_of``.
"""

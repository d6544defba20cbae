"""The commands, one file each. A command has ``add_parser(commands)`` and ``run(arguments, environment)``.

``run`` returns the exit code: 0 fine, 1 failed while running, 2 the command line or the settings are wrong.
"""

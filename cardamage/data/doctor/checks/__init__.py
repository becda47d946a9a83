"""The kinds of findings, a theme in each file; :func:`..registry.all_checks` finds them by themselves."""

"""What objects can be set to: every settings key, its form, its default, where it may stand.

Pure. ``keys`` says what a key is, the ``*_keys`` modules list them; :mod:`pbx.objects.check`
refuses wrong values before anything is decided; :mod:`pbx.objects.effective` finds the value that
counts.
"""

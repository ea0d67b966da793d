"""A small, whole part of every kind, each as ``zoo new-plugin`` writes it into a package of its own.

A module a kind, which imports what is for authors alone: they are copied with other names in place of ``mine`` and
``Mine``, and never loaded by zoo. The arithmetic is the literature's; each shows what its kind has to mind.
"""

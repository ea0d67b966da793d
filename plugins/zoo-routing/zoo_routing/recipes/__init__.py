"""Recipes of this plug-in, for ``zoo recipes``."""

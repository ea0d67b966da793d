"""What goes into a part of each kind, what must come out, and the laws of that kind alone: a module each.

A module has ``inputs(case, batch, random, device)``, random inputs with the batch first, ``shapes(case, part, batch)``
of the tensors that come out, ``LAWS``, and ``call(case, part, inputs)`` where a part is more than its ``forward``.
"""

"""DiC's and DiCo's convolutional backbones, as parts for zoo.

Importing this package does not import torch, so that ``zoo recipes`` can look inside; the parts are in its modules.
"""

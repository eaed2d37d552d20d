"""Clusters data with deep networks: Deep Embedded Clustering and its family in JAX.

The public functions and settings are importable from here. Each is loaded when it is first
used, so that `import dec_jax` stays light; `__init__.pyi` lists them. The packages
`evaluation`, `model`, `plots`, `streaming` and the others are imported as such.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

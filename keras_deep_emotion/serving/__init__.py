"""Serving: exports for TensorFlow Serving, their verification, and servers on this machine.

The client of a server is in `inference`; bulk prediction is in `scoring`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "docker": ["docker_command"],
        "export": ["export_run"],
        "local_server": ["LocalServer"],
        "container": ["write_models_config"],
        "verification": ["verify"],
    },
)

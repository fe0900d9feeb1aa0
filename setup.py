"""Adds the optional C packet core to the build; everything else is in ``pyproject.toml``.

``optional=True``: where no compiler or no Python headers are, the build goes on without it and
``media.native`` serves with its Python twin, which passes the same tests.
"""

from glob import glob

from setuptools import Extension, setup

sources = sorted(glob("media/native/*.c"))

setup(
    ext_modules=[
        Extension(
            "media.native._relay",
            sources=sources,
            depends=sorted(glob("media/native/*.h")),
            extra_compile_args=[
                "-O2",
                "-std=c11",
                "-Wall",
                "-Wextra",
                "-fvisibility=hidden",
                "-ffp-contract=off",
            ],
            libraries=["pthread"],
            optional=True,
        )
    ]
    if sources
    else [],
)

"""Adds the optional C cores to the build; everything else is in ``pyproject.toml``.

``optional=True``: where no compiler or no Python headers are, the build goes on without them.
``media.native`` then serves with its Python twin, which passes the same tests; the codecs of
``media.codecs`` that need C (G.722, GSM) are then not offered.
"""

from glob import glob

from setuptools import Extension, setup

FLAGS = [
    "-O2",
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-fvisibility=hidden",
    "-ffp-contract=off",
]


def extension(name: str, folder: str) -> Extension:
    return Extension(
        name,
        sources=sorted(glob(f"{folder}/*.c")),
        depends=sorted(glob(f"{folder}/*.h")),
        extra_compile_args=FLAGS,
        libraries=["pthread"],
        optional=True,
    )


setup(
    ext_modules=[
        extension("media.native._relay", "media/native"),
        extension("media.codecs._codecs", "media/codecs"),
    ]
)

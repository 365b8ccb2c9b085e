"""The module in C, which `setup.cfg` cannot name. All else about the package stands there."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "ledger.lthash._streams",
            ["ledger/lthash/_streams.c"],
            extra_compile_args=["-O3", "-Wno-psabi"],
            py_limited_api=True,
            # Without a C compiler it is left out, and state digests take eight times as long.
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

"""The module in C, which `setup.cfg` cannot name. All else about the package stands there."""

import sysconfig

from setuptools import Extension, setup

# One wheel for all versions of Python, but for those without a global lock.
IS_STABLE = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    ext_modules=[
        Extension(
            "ledger.lthash._streams",
            ["ledger/lthash/_streams.c"],
            define_macros=[("Py_LIMITED_API", "0x030b0000")] if IS_STABLE else [],
            extra_compile_args=["-O3", "-Wno-psabi"],
            py_limited_api=IS_STABLE,
            # Without a C compiler it is left out, and state digests take several times as long.
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if IS_STABLE else {},
)

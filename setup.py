"""The module in C, which `setup.cfg` cannot name. All else about the package stands there."""

import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# One wheel for all versions of Python, but for those without a global lock.
IS_STABLE = not sysconfig.get_config_var("Py_GIL_DISABLED")


class BuildModule(build_ext):
    """Builds the module. Without it a package is pure Python, and its wheel for every platform."""

    def run(self) -> None:
        """Build; a wheel has looked before that, and only whether there is something to build."""
        super().run()
        if any(Path(each).exists() for each in self.get_outputs()):
            return
        self.distribution.ext_modules = None
        wheel = self.distribution.get_command_obj("bdist_wheel", create=False)
        if wheel is not None:
            wheel.root_is_pure = True


setup(
    cmdclass={"build_ext": BuildModule},
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

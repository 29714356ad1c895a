"""Where the packages of ``invbench`` lie in this tree: ``bench/`` is the package itself, its neighbours hang below it."""

from setuptools import find_packages, setup

ROOMS = {"invbench": "bench"} | {f"invbench.{name}": name for name in ("datasets", "metrics", "methods", "reports")}
PACKAGES = [name for room, folder in ROOMS.items() for name in (room, *(f"{room}.{inner}" for inner in find_packages(folder)))]

setup(package_dir=ROOMS, packages=PACKAGES)

"""`python -m deploy.image`: build the images of the model of `HOLDFAST_MODEL`, or the champion of `HOLDFAST_USECASE`.

With podman or docker, whichever works. Names, sizes, ids, lists of parts and the commands that come next are printed.
"""

from __future__ import annotations

import argparse
import sys

import settings as holdfast_settings
from cli.workspace import registry
from deploy.image.build import BASE, build
from deploy.image.engine import Engine
from deploy.image.telling import following, told
from model import store
from model.registry import CHAMPION
from settings import HoldfastError


def main() -> None:
    """Build both, or say in one line why not."""
    parser = argparse.ArgumentParser(prog="make image", description=__doc__)
    parser.add_argument("--repository", default="holdfast", help="what names begin with: REGISTRY/holdfast")
    parser.add_argument("--tag", help="default: the model's version and the commit")
    parser.add_argument("--base", default=BASE, help="image to stand on, best as NAME@sha256:DIGEST")
    parser.add_argument(
        "--option", action="append", default=[], help="a word more for the engine's `build`; repeatable"
    )
    asked = parser.parse_args()
    if asked.tag == "latest":
        parser.error("a tag must name one image for ever: `latest` does not")
    holdfast_settings.pin_environment()  # for the processes that are started
    try:
        engine = Engine.find()
        settings = holdfast_settings.load()
        tag = registry(settings).resolve(settings.model or f"{settings.usecase}@{CHAMPION}")
        images = build(
            engine,
            store.manifest(tag),
            settings,
            repository=asked.repository,
            tag=asked.tag,
            base=asked.base,
            options=asked.option,
        )
    except HoldfastError as error:
        sys.exit(f"make image: {error}")
    sys.stdout.write(told(images, asked.base) + following(images, tag.partition(":")[0], engine.program))


if __name__ == "__main__":
    main()

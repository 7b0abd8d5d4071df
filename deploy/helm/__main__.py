"""`python -m deploy.helm` writes anew what of the chart is made."""

from __future__ import annotations

from deploy.helm import CHART
from deploy.helm.made import made


def main() -> None:
    """Write the files, and remove those that are no longer made."""
    files = made()
    for old in (CHART / "files").glob("*"):
        if f"files/{old.name}" not in files:
            old.unlink()
    for name, content in files.items():
        path = CHART / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)


if __name__ == "__main__":
    main()

"""Copy an exported GLUScope site folder into a checkout of the site."""

import sys

from gluscope.core.errors import GluscopeError
from gluscope.export.site_folder import merge_into


def main(arguments: list[str]) -> None:
    """`arguments`: the exported folder, the checkout."""
    if len(arguments) != 2:
        sys.exit("usage: python scripts/export_into_site.py results/RUN/export/gluscope-site CHECKOUT")
    try:
        print(f"{merge_into(*arguments)} neurons copied, pages.json brought up to date")
    except GluscopeError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])

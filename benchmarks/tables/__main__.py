"""Renew the tables of all pages: ``python -m benchmarks.tables``."""

from . import pages, renewed


def main() -> None:
    """Write the pages whose tables are no longer those of the results."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        now = renewed(text)
        if now != text:
            page.write_text(now, encoding="utf-8")
            print(f"renewed {page}")


if __name__ == "__main__":
    main()

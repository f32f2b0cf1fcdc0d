"""Renew the tables of all pages: ``python -m benchmarks.tables``."""

from sk_eqsae.persistence import atomic_write

from . import pages, renewed


def main() -> None:
    """Write the pages whose tables are no longer those of the results."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        now = renewed(text)
        if now != text:
            with atomic_write(page) as part:
                part.write_text(now, encoding="utf-8")
            print(f"renewed {page}")


if __name__ == "__main__":
    main()

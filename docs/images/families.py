"""Cut four families out of real_families.png, for the home page."""

from pathlib import Path

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

LEFTS, TOPS, SIZE = (8, 345, 683, 1020), (15, 285, 555), (323, 240)
SHOWN = ((0, 2), (1, 1), (1, 3), (2, 1))  # rows and columns of families
GAP, HEAD = 30, 20


def draw(path: Path) -> Image.Image:
    """Set the families in two rows, with the copies named."""
    whole, (width, height) = Image.open(path).convert("RGB"), SIZE
    step = height + HEAD + 16
    page = Image.new("RGB", (2 * width + GAP, 2 * step + 2), "white")
    pen = ImageDraw.Draw(page)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 14)
    for n, (row, column) in enumerate(SHOWN):
        x, y = (n % 2) * (width + GAP), (n // 2) * step + HEAD
        box = (LEFTS[column], TOPS[row], LEFTS[column] + width, TOPS[row] + height)
        page.paste(whole.crop(box), (x, y))
        for k in range(4):
            place = (x + 39 + 81 * k, y - 9)
            pen.text(place, f"copy {k}", fill="black", font=font, anchor="mm")
    return page


if __name__ == "__main__":
    folder = Path(__file__).parent
    draw(folder / "real_families.png").save(folder / "families.png", optimize=True)

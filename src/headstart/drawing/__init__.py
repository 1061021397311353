"""Objects and texts drawn on images: whose they are, and why they are drawn, others say."""

from headstart.drawing.labels import Box, Colour, Labels, short, text_size, with_legend
from headstart.drawing.marks import RIM, TINY, Drawing, Mark, Point

__all__ = [
    "RIM",
    "TINY",
    "Box",
    "Colour",
    "Drawing",
    "Labels",
    "Mark",
    "Point",
    "short",
    "text_size",
    "with_legend",
]

"""The charts of the page, each an SVG element."""

"""How the page looks. Everything comes from this machine: its fonts are the visitor's own."""

from __future__ import annotations

import gradio as gr

__all__ = ["CSS", "studio_theme"]

_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Liberation Sans", "sans-serif")
_MONO_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


def studio_theme() -> gr.themes.Base:
    """Give a sober theme without web fonts."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_sm,
        font=tuple(gr.themes.Font(name) for name in _FONTS),
        font_mono=tuple(gr.themes.Font(name) for name in _MONO_FONTS),
    ).set(
        block_label_text_weight="600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_text_color="white",
    )


CSS = """
.gradio-container { width: 100% !important; max-width: 1320px !important; margin: 0 auto !important; }
.intro p { font-size: 1.05rem; max-width: 62rem; line-height: 1.5; }
.pixels img { image-rendering: pixelated; }
.report-style { display: none !important; }
.report-part .row .legend { width: 256px; margin: 0; }
.report-part .row.large > div { flex: 1 1 250px; max-width: 420px; }
.report-part .row.large img { width: 100%; height: auto; image-rendering: auto; }
[id$="-examples"] .grid-wrap { height: auto; min-height: 0; max-height: none; padding-top: 0; }
[id$="-examples"] .thumbnail-item { height: auto; aspect-ratio: 1; }
[id$="-examples"] .grid-container {
  grid-template-columns: repeat(4, minmax(0, 1fr)) !important; grid-auto-rows: min-content; gap: 6px;
}
[id$="-examples"] .caption-label { display: none; }
[id$="-examples"] label { position: static; border: 0; box-shadow: none; }
footer { display: none !important; }
"""
"""Small pictures are enlarged pixel by pixel in whatever has the class `pixels`; an introduction has `intro`. The style
of parts of the report applies although what brings it is not shown. Galleries of examples show all of them, and no
label lies over them."""
